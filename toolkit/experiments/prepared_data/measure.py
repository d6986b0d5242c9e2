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
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Int
from transformers import PreTrainedTokenizerBase

from toolkit.harvest.documents import open_records
from toolkit.harvest.reasoning_records import Part, ReasoningRecord, part_of, read_record, without_markers
from toolkit.harvest.records import usable
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.presets import find_pair
from toolkit.models.text.chat import chat_text
from toolkit.models.text.messages import UnusableError
from toolkit.models.text.tokenizers import Clashes, check_same_tokens, describe_clashes, encode, well_formed
from toolkit.outputs import Claim, OutputFolder, findings_claim
from toolkit.ranges import Count, Seed, ShareBelowOne, check_ranges
from toolkit.reports.data_figures import length_bins, length_histogram
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table
from toolkit.tracking import track

SPLITS = ("train", "held_out")
TEXTS = Claim(
    files=tuple(f"{split}.jsonl" for split in SPLITS),
    signs={"prepared_data.json": ("question", "results", "provenance")},
)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ENCODED_TOGETHER = 256
LOST_PARTS = "kept without parts such as images"
LAID_OUT = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Turn records of questions and reasoning into the text that a crosscoder is trained on."""

    data: str
    """A hub dataset, or local .jsonl(.gz) or .parquet files: OpenR1-Math, OpenThoughts, chat messages, responses."""
    out: Path = Path("runs/data")
    """Folder for train.jsonl, held_out.jsonl, statistics and their page."""
    pair: str | None = None
    """Models by name that will read the text; default: organism. The distilled model's tokenizer counts tokens."""
    base: str | None = None
    """Base model instead of --pair's: a local folder or a hub repository, of which only the tokenizer is read."""
    distilled: str | None = None
    """Distilled model instead of --pair's: likewise."""

    part: Part = "both"
    """Part of each reply: both, reasoning (up to the mark that ends it), or answer (what follows)."""
    template: Literal["plain", "chat", "reply"] = "plain"
    """plain: question, blank line, reply; chat: the distilled model's chat template; reply: no question."""
    markers: Literal["keep", "drop"] = "keep"
    """keep <think> and its like, or drop these marks alone; for pairs whose base model lacks them."""
    prefix: str = ""
    """Put before each text."""
    keep_incomplete: bool = False
    """Keep replies that were cut off; otherwise the first complete reply of each record is taken."""

    documents: Count | None = None
    """Stop after so many texts."""
    held_out: ShareBelowOne = 0.05
    """Share of questions that go to held_out.jsonl; the same question always goes to the same file."""
    seed: Seed = 0
    """Seed of the split."""

    def __post_init__(self) -> None:
        check_ranges(self)

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return [OutputFolder(self.out, (findings_claim("prepared_data"), TEXTS))]


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Tokens of each text by split, and how many records were left out for which reason."""

    lengths: dict[str, list[int]]
    left_out: dict[str, int]
    distilled: str


class _Text(NamedTuple):
    question: str
    text: str


def prepare(config: PrepareConfig) -> PreparedData:
    """Write `train.jsonl` and `held_out.jsonl`, one {"text"} a line; earlier ones are replaced when all is done.

    Raises `ValueError` for ids that mean something else to the base model, and when no record gives a text.
    """
    sources = find_pair(*_named(config))
    tokenizer = load_tokenizer(sources.distilled)
    clashes = check_same_tokens(load_tokenizer(sources.base), tokenizer)
    left_out: Counter[str] = Counter()
    texts = islice(_texts(config, tokenizer, left_out), config.documents)
    config.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=config.out) as folder:
        paths = {split: Path(folder) / f"{split}.jsonl" for split in SPLITS}
        lengths = _write(config, paths, _checked(texts, tokenizer, clashes))
        with OutputFolder(config.out, (TEXTS,)).writing(*(path.name for path in paths.values())):
            for split, path in paths.items():
                (config.out / path.name).unlink(missing_ok=True)
                if lengths[split]:
                    path.replace(config.out / path.name)
    return PreparedData(lengths=lengths, left_out=dict(left_out), distilled=sources.distilled)


def _write(config: PrepareConfig, paths: dict[str, Path], texts: Iterator[tuple[_Text, int]]) -> dict[str, list[int]]:
    lengths: dict[str, list[int]] = {split: [] for split in SPLITS}
    with ExitStack() as stack:
        files = {split: stack.enter_context(path.open("w", encoding="utf-8")) for split, path in paths.items()}
        for (question, text), length in track(texts, "laying out", "texts", total=config.documents):
            split = "held_out" if _draw(question, config.seed) < config.held_out else "train"
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


def _named(config: PrepareConfig) -> tuple[str | None, str | None, str | None]:
    given = (config.pair, config.base, config.distilled)
    return given if any(given) else ("organism", None, None)


def _texts(config: PrepareConfig, tokenizer: PreTrainedTokenizerBase, left_out: Counter[str]) -> Iterator[_Text]:
    def read(fields: Mapping[str, Any]) -> _Text:
        return _text(config, tokenizer, read_record(fields), left_out)

    return usable(open_records(config.data), read, left_out, data=config.data)


def _text(
    config: PrepareConfig, tokenizer: PreTrainedTokenizerBase, record: ReasoningRecord, left_out: Counter[str]
) -> _Text:
    """The text that a record gives; raises `UnusableError` for a record that gives none."""
    replies = [reply.text for reply in record.replies if reply.complete or config.keep_incomplete]
    if not replies:
        raise UnusableError("no complete reply", "it has no complete reply: try --keep-incomplete")
    reply = part_of(replies[0], config.part)
    if not reply:
        raise UnusableError(f"no {config.part} in the reply", f"its reply has no {config.part}: try another --part")
    question = "\n\n".join(content for role, content in record.turns if role != "system")
    if config.markers == "drop":
        reply = without_markers(reply)
    text = config.prefix + _lay_out(config, tokenizer, record, question, reply)
    if record.parts_left_out:
        left_out[LOST_PARTS] += 1
    return _Text(well_formed(question or reply), well_formed(text))


def _lay_out(
    config: PrepareConfig, tokenizer: PreTrainedTokenizerBase, record: ReasoningRecord, question: str, reply: str
) -> str:
    if config.template == "reply":
        return reply
    if not record.turns or not question.strip():
        raise UnusableError("no question", "it holds no question: take --template reply")
    if config.template == "plain":
        return f"{question}\n\n{reply}"
    if strange := next((role for role, _ in record.turns if role not in LAID_OUT), None):
        raise UnusableError("turns of other roles", f"it has a turn of {strange!r}, which chat templates pass over")
    return chat_text(tokenizer, record.turns, reply)


def _check_ids(ids: Sequence[int], clashes: Clashes, tokenizer: PreTrainedTokenizerBase) -> None:
    rest = ids[1:] if ids[:1] == [tokenizer.bos_token_id] else ids
    if used := {token_id: names for token_id, names in clashes.items() if token_id in rest}:
        raise ValueError(
            f"the text uses ids that mean different things to the two models: {describe_clashes(used)}. Leave them out"
            " with --template plain (or reply) and --markers drop"
        )


def _draw(question: str, seed: int) -> float:
    """A number in [0, 1) that depends on the question and the seed alone."""
    return int.from_bytes(sha256(f"{seed} {question}".encode()).digest()[:6]) / 2**48


def prepared_findings(config: PrepareConfig, prepared: PreparedData) -> Findings:
    """How many texts there are, how long they are, and what was left out."""
    every = np.array([length for split in SPLITS for length in prepared.lengths[split]])
    statistics = {"all": _statistics(every)} | {
        split: _statistics(np.array(lengths)) for split, lengths in prepared.lengths.items() if lengths
    }
    edges = length_bins(int(every.max()))
    counts, _ = np.histogram(every, bins=edges)
    return Findings(
        name="prepared_data",
        title=f"Text from {Path(config.data).name}",
        question="How much text do the records give, and how long are its documents?",
        facts=_facts(config, prepared),
        headline=[Headline(name="tokens", value=int(every.sum()), n=len(every), unit="texts")],
        tables=_tables(config, prepared, statistics),
        charts=[
            Chart(
                name="lengths",
                figure=length_histogram(counts, edges),
                caption="Each text's tokens, four bins a doubling.",
            )
        ],
        results={
            "tokens": statistics,
            "left_out": prepared.left_out,
            "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        },
    )


def _tables(config: PrepareConfig, prepared: PreparedData, statistics: dict[str, dict[str, int]]) -> list[Table]:
    rows: list[list[Cell]] = [[split.replace("_", "-"), *values.values()] for split, values in statistics.items()]
    kept: list[list[Cell]] = [["gave a text", statistics["all"]["texts"]]]
    kept.extend([why, n] for why, n in prepared.left_out.items())
    which = "first" if config.keep_incomplete else "first complete"
    return [
        Table(
            title="tokens a text", columns=("", *statistics["all"]), rows=rows, note=f"Counted by {prepared.distilled}."
        ),
        Table(title="records", columns=("", "n"), rows=kept, note=f"The {which} reply of each record is taken."),
    ]


def _facts(config: PrepareConfig, prepared: PreparedData) -> dict[str, str]:
    return {
        "records": config.data,
        "text": f"{config.part}, {config.template}, marks {'kept' if config.markers == 'keep' else 'dropped'}",
        "tokenizer": prepared.distilled,
        "split": f"{config.held_out:.0%} of questions held out, seed {config.seed}",
        "folder": str(config.out),
    }


def _statistics(lengths: Int[np.ndarray, " document"]) -> dict[str, int]:
    quantiles = {f"{q:.0%}": round(value) for q, value in zip(QUANTILES, np.quantile(lengths, QUANTILES), strict=True)}
    return (
        {"texts": len(lengths), "tokens": int(lengths.sum()), "min": int(lengths.min())}
        | quantiles
        | {"max": int(lengths.max())}
    )
