"""Records of reasoning data to text for a pair of models: what is kept, and how long it is."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from toolkit.answers import grading
from toolkit.answers.grading import Grader
from toolkit.answers.questions import reference_answer
from toolkit.experiments.prepared_data import SPLITS, TEXTS, PrepareConfig
from toolkit.harvest.choices import EMBEDDED
from toolkit.harvest.documents import open_records
from toolkit.harvest.reasoning_records import ReasoningRecord, Reply, part_of, read_record, split_reply, without_markers
from toolkit.harvest.records import usable
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.presets import find_pair
from toolkit.models.text.chat import chat_text
from toolkit.models.text.messages import UnusableError
from toolkit.models.text.tokenizers import Clashes, check_same_tokens, describe_clashes, encode, well_formed
from toolkit.outputs import OutputFolder
from toolkit.settings.models import ModelChoice
from toolkit.tracking import track

ENCODED_TOGETHER = 256
LOST_PARTS = "kept without parts such as images"
LAID_OUT = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Tokens of each text by split, and how many records were left out for which reason."""

    lengths: dict[str, list[int]]
    left_out: dict[str, int]
    distilled: str


class _Text(NamedTuple):
    question: str
    text: str


def measure(settings: PrepareConfig, opened: None = None) -> PreparedData:
    """Write `train.jsonl` and `held_out.jsonl`, one {"text"} a line; earlier ones are replaced when all is done.

    Raises `ValueError` for ids that mean something else to the base model, and when no record gives a text.
    """
    models = settings.models if settings.models.are_named() else ModelChoice(pair=EMBEDDED)
    sources = find_pair(models.pair, models.base, models.distilled)
    tokenizer = load_tokenizer(sources.distilled)
    clashes = check_same_tokens({"base": load_tokenizer(sources.base), "distilled": tokenizer})
    left_out: Counter[str] = Counter()
    settings.output.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=settings.output.out) as folder, Grader() as grader:
        texts = islice(_texts(settings, tokenizer, grader, left_out), settings.documents)
        paths = {split: Path(folder) / f"{split}.jsonl" for split in SPLITS}
        lengths = _write(settings, paths, _checked(texts, tokenizer, clashes))
        with OutputFolder(settings.output.out, (TEXTS,)).writing(*(path.name for path in paths.values())):
            for split, path in paths.items():
                (settings.output.out / path.name).unlink(missing_ok=True)
                if lengths[split]:
                    path.replace(settings.output.out / path.name)
    return PreparedData(lengths=lengths, left_out=dict(left_out), distilled=sources.distilled)


def _write(settings: PrepareConfig, paths: dict[str, Path], texts: Iterator[tuple[_Text, int]]) -> dict[str, list[int]]:
    lengths: dict[str, list[int]] = {split: [] for split in SPLITS}
    with ExitStack() as stack:
        files = {split: stack.enter_context(path.open("w", encoding="utf-8")) for split, path in paths.items()}
        for (question, text), length in track(texts, "laying out", "texts", total=settings.documents):
            split = "held_out" if _draw(question, settings.seed) < settings.held_out else "train"
            files[split].write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            lengths[split].append(length)
    return lengths


def _checked(
    texts: Iterator[_Text], tokenizer: PreTrainedTokenizerBase, clashes: Clashes
) -> Iterator[tuple[_Text, int]]:
    """Each text with its number of tokens, all of which mean the same to both models."""
    while batch := list(islice(texts, ENCODED_TOGETHER)):
        for text, ids in zip(batch, encode(tokenizer, [each.text for each in batch]), strict=True):
            _check_ids(ids, clashes, tokenizer)
            yield text, len(ids)


def _texts(
    settings: PrepareConfig, tokenizer: PreTrainedTokenizerBase, grader: Grader, left_out: Counter[str]
) -> Iterator[_Text]:
    def read(fields: Mapping[str, Any]) -> _Text:
        record = read_record(fields)
        replies = [reply for reply in record.replies if reply.complete or settings.keep_incomplete]
        if not replies:
            raise UnusableError("no complete reply", "it has no complete reply: try --keep-incomplete")
        if settings.only_right:
            replies = _right(replies, fields, grader)
        return _text(settings, tokenizer, record, replies[0].text, left_out)

    return usable(open_records(settings.data), read, left_out, data=settings.data)


def _right(replies: Sequence[Reply], fields: Mapping[str, Any], grader: Grader) -> list[Reply]:
    """The replies whose answer is the record's; raises `UnusableError` where there is none."""
    try:
        wanted = reference_answer("it", fields)
    except ValueError as error:
        raise UnusableError("malformed", str(error)) from error
    if wanted is None:
        raise UnusableError("no known answer", "it has no answer to grade replies by: leave --only-right out")
    answers = [grading.Reply(split_reply(reply.text)[1], wanted, ended=reply.complete) for reply in replies]
    grades = grader.grade_each(answers)
    found = [reply for reply, grade in zip(replies, grades, strict=True) if grade.verdict == "right"]
    if not found:
        raise UnusableError("no right reply", "no reply has its answer: leave --only-right out")
    return found


def _text(
    settings: PrepareConfig,
    tokenizer: PreTrainedTokenizerBase,
    record: ReasoningRecord,
    reply: str,
    left_out: Counter[str],
) -> _Text:
    """The text that a record's reply gives; raises `UnusableError` for one that gives none."""
    reply = part_of(reply, settings.part)
    if not reply:
        raise UnusableError(f"no {settings.part} in the reply", f"its reply has no {settings.part}: try another --part")
    question = "\n\n".join(content for role, content in record.turns if role != "system")
    if settings.markers == "drop":
        reply = without_markers(reply)
    text = settings.prefix + _lay_out(settings, tokenizer, record, question, reply)
    if record.parts_left_out:
        left_out[LOST_PARTS] += 1
    return _Text(well_formed(question or reply), well_formed(text))


def _lay_out(
    settings: PrepareConfig, tokenizer: PreTrainedTokenizerBase, record: ReasoningRecord, question: str, reply: str
) -> str:
    if settings.template == "reply":
        return reply
    if not record.turns or not question.strip():
        raise UnusableError("no question", "it holds no question: take --template reply")
    if settings.template == "plain":
        return f"{question}\n\n{reply}"
    if strange := next((role for role, _ in record.turns if role not in LAID_OUT), None):
        raise UnusableError("turns of other roles", f"it has a turn of {strange!r}, which chat templates pass over")
    return chat_text(tokenizer, record.turns, reply)


def _check_ids(ids: Sequence[int], clashes: Clashes, tokenizer: PreTrainedTokenizerBase) -> None:
    rest = ids[1:] if ids[:1] == [tokenizer.bos_token_id] else ids
    if used := {token_id: names for token_id, names in clashes.items() if token_id in rest}:
        raise ValueError(
            f"the text uses ids that mean different things to the models:"
            f" {describe_clashes(used, ('base', 'distilled'))}. Leave them out"
            " with --template plain (or reply) and --markers drop"
        )


def _draw(question: str, seed: int) -> float:
    """A number in [0, 1) that depends on the question and the seed alone."""
    return int.from_bytes(sha256(f"{seed} {question}".encode()).digest()[:6]) / 2**48
