"""Scores answers of reasoning models: length of the thinking, hesitation, and whether the answer is right."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from toolkit.harvest.records import objects_of
from toolkit.models.text.chat import CLOSING

PROMPTS = Path(__file__).parents[1] / "data" / "prompts"
BOXED = "\\boxed{"
SAID = (re.compile(r"####\s*(.+)"), re.compile(r"answer is:?\s*(.+?)(?:\.(?!\d)|\n|$)", re.IGNORECASE))
DIGITS = r"(?:\d+(?:\.\d+)?|\.\d+)"
NUMBER = re.compile(rf"(?:(?<![\w.)])-)?{DIGITS}(?:/{DIGITS})?")
"""Matches a number or a fraction of two; a minus between two numbers is not a sign."""
SPELLINGS = (
    (re.compile("[\u2212\u2010-\u2013]"), "-"),  # what is printed for a minus
    (re.compile(r"(?<=\d)(?:,|\{,\}|\\[,;:! ]|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))"), ""),  # between thousands
    (re.compile(r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}"), r"\1/\2"),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:left|right|[,;:! ])|\^?\{?\\circ\}?|\s+"), ""),
    (re.compile(r"\\([$%])"), r"\1"),
    (re.compile(r"\\[dt]frac"), r"\\frac"),
)
"""Patterns of text that can be written in several ways, and the one way in which answers are compared."""
UNITS = "$€£%"
FORM = '{"question": "…", "answer": "…"}'


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, and its answer where that is known."""

    question: str
    answer: str | None


def shipped_questions(*, embedded: bool) -> Path:
    """Return the file of questions that ships for the embedded pair, or for all other models."""
    return PROMPTS / ("embedded.jsonl" if embedded else "everyday.jsonl")


def load_questions(path: Path) -> list[Question]:
    """Read questions from a JSONL file of `{"question": …, "answer": …}`; the answer may be missing or null.

    Of a worked answer with a marked result, such as `#### 72` in GSM8K, only the result counts. A question that comes
    again with the same answer counts once. Raises `ValueError` for a file that cannot be read, and for a line that
    holds no question, which it names.
    """
    found: dict[str, Question] = {}
    for place, fields in objects_of(path):
        question = _question(place, fields)
        if found.setdefault(question.question, question) != question:
            raise ValueError(f"{place}: {question.question!r} came before with another answer: give each question once")
    if not found:
        raise ValueError(f"{path} holds no questions: give lines of {FORM}")
    return list(found.values())


def _question(place: str, fields: Mapping[str, Any]) -> Question:
    question, answer = fields.get("question"), fields.get("answer")
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{place} has no question: give {FORM}")
    if answer is None:
        return Question(question=question, answer=None)
    if isinstance(answer, bool) or not isinstance(answer, str | int | float) or answer != answer:
        raise ValueError(f"{place} has {answer!r} as its answer: give a string or a number, or leave it out")
    marked = _marked(str(answer))
    wanted = _plain(str(answer)) if marked is None else marked
    if not wanted:
        raise ValueError(f"{place} has an empty answer: give one, or leave it out")
    return Question(question=question, answer=wanted)


def spoken_answer(text: str) -> str:
    """Return the final answer of a text: boxed, after `####`, after "answer is", else its last number, else all text.

    Where the mark is empty, so is the answer: an empty box is no answer, whatever number comes before it.
    """
    closing = text.rpartition(CLOSING)[2]
    marked = _marked(closing)
    return _plain(next(reversed(_numbers(closing)), closing)) if marked is None else marked


def _marked(text: str) -> str | None:
    """Return what a text marks as its answer; None where it marks nothing."""
    boxes = [box for part in text.split(BOXED)[1:] if (box := _braced(part)) is not None]
    marked = [boxes, *(pattern.findall(text) for pattern in SAID)]
    return next((_plain(said[-1]) for said in marked if said), None)


def _braced(text: str) -> str | None:
    """Return the text up to the brace that closes one opened before the text; None where no brace does."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if not depth:
            return text[:place]
    return None


def _is_right(said: str, wanted: str) -> bool:
    """Whether an answer is the wanted one; where that is a number, the answer's last number is compared.

    Numbers are compared by value, with or without separators of thousands, a currency or a percent sign: 1/2 is .5.
    Other text is compared letter by letter, without regard to capitals, spaces and LaTeX's layout commands.
    """
    number = _value(_spelt(wanted).strip(UNITS))
    numbers = _numbers(said)
    if number is not None and numbers:
        return _value(numbers[-1]) == number
    return _spelt(said) == _spelt(wanted)


def _numbers(text: str) -> list[str]:
    """Return all numbers of a text in one spelling."""
    for pattern, spelling in SPELLINGS[:3]:  # spaces stay, as they separate numbers
        text = pattern.sub(spelling, text)
    return NUMBER.findall(text)


def _value(text: str) -> Fraction | None:
    """Return the number that a text consists of; None for any other text and for a division by zero."""
    if not NUMBER.fullmatch(text):
        return None
    above, _, below = text.partition("/")
    return None if below and not Fraction(below) else Fraction(above) / Fraction(below or 1)


def _spelt(text: str) -> str:
    """Return the text in the spelling in which answers are compared."""
    for pattern, spelling in SPELLINGS:
        text = pattern.sub(spelling, text)
    return _plain(text)


def _plain(answer: str) -> str:
    return SPELLINGS[1][0].sub("", answer).strip().rstrip("$.*,;:!?").lstrip("$*").strip().casefold()


@dataclass(frozen=True, kw_only=True)
class AnswerScore:
    """The measures of one answer."""

    length: int
    """Tokens until `</think>`; all of them where thinking does not end."""
    hesitation: float
    """Hesitation tokens per 1,000 tokens."""
    finished: bool
    """Whether the answer ended by itself, before the limit of tokens."""
    correct: bool | None
    """Whether the answer is right and finished; None where the right one is not known."""


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

    `closing_ids` end the thinking; it is empty for a model that does not write its thinking, whose text is all answer.
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
    """Return the index where `wanted` begins among the ids; the number of ids where it does not occur."""
    width = len(wanted)
    starts = range(len(token_ids) - width + 1) if width else ()
    return next((i for i in starts if list(token_ids[i : i + width]) == list(wanted)), len(token_ids))
