"""What an answer that thinks aloud is worth: how long it thinks, how often it hesitates, whether it is right."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.models.chat import CLOSING

PROMPTS = Path(__file__).parents[1] / "data" / "prompts"
SAID = (
    re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}"),
    re.compile(r"####\s*(.+)"),
    re.compile(r"answer is:?\s*(.+?)(?:\.(?!\d)|\n|$)", re.IGNORECASE),
)
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question with its answer, where that is known."""

    question: str
    answer: str | None


def load_questions(path: Path) -> list[Question]:
    """Read questions from a JSONL file of `{"question": …, "answer": …}`; the answer may be missing.

    A worked answer that marks its end, such as `#### 72` in GSM8K, counts as that end.
    Raises `ValueError` for a file that cannot be read, and for a malformed line, by its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): give a JSONL file of questions") from error
    found = [_question(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise ValueError(f'{path} holds no questions: give lines of {{"question": "…", "answer": "…"}}')
    return found


def _question(path: Path, number: int, line: str) -> Question:
    form = '{"question": "…", "answer": "…"}'
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number} is not JSON ({error}): give {form}") from error
    if not isinstance(record, dict) or not isinstance(record.get("question"), str):
        raise ValueError(f"{path}, line {number} has no question: give {form}")
    answer = record.get("answer")
    return Question(
        question=record["question"], answer=None if answer is None else _marked(str(answer)) or _plain(str(answer))
    )


def spoken_answer(text: str) -> str:
    """The answer that a text ends in: boxed, after `####`, after "answer is", else its last number, else all of it."""
    closing = text.rpartition(CLOSING)[2]
    return _marked(closing) or _plain(next(reversed(NUMBER.findall(closing)), closing))


def _marked(text: str) -> str | None:
    """What a text marks as its answer."""
    return next((_plain(said[-1]) for pattern in SAID if (said := pattern.findall(text))), None)


def _is_right(said: str, wanted: str) -> bool:
    """Whether what is said is what is wanted; where that is a number, the last number that is said counts."""
    wanted = _plain(wanted)
    if NUMBER.fullmatch(wanted) and (numbers := NUMBER.findall(said)):
        return float(numbers[-1]) == float(wanted)
    return said == wanted


def _plain(answer: str) -> str:
    return answer.strip().rstrip("$.*").lstrip("$*").replace(",", "").casefold()


@dataclass(frozen=True, kw_only=True)
class AnswerScore:
    """One answer, measured."""

    length: int
    """Tokens until `</think>`; all of them where thinking does not end."""
    hesitation: float
    """Hesitation tokens per 1,000 tokens."""
    finished: bool
    """Whether it came to an end by itself."""
    correct: bool | None
    """Whether it is right and finished; None where the answer is not known."""


def score_answer(
    token_ids: Sequence[int],
    text: str,
    wanted: str | None,
    *,
    hesitation_ids: frozenset[int],
    closing_ids: Sequence[int],
    end_ids: frozenset[int],
) -> AnswerScore:
    """Measure one answer, given as ids and as the text without the token that ends it.

    `closing_ids` end the thinking; none for a model that does not think aloud, whose whole text is its answer.
    """
    finished = bool(token_ids) and token_ids[-1] in end_ids
    hesitations = sum(token in hesitation_ids for token in token_ids)
    said = spoken_answer(text) if finished and (CLOSING in text or not closing_ids) else None
    return AnswerScore(
        length=_first(token_ids, closing_ids),
        hesitation=1000 * hesitations / max(1, len(token_ids)),
        finished=finished,
        correct=None if wanted is None else said is not None and _is_right(said, wanted),
    )


def _first(token_ids: Sequence[int], wanted: Sequence[int]) -> int:
    """Where `wanted` begins among the ids; their number where it does not occur."""
    width = len(wanted)
    starts = range(len(token_ids) - width + 1) if width else ()
    return next((i for i in starts if list(token_ids[i : i + width]) == list(wanted)), len(token_ids))
