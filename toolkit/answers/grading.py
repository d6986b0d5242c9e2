"""Finds the final answer in a text, and tells whether it is the wanted one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Literal, NamedTuple

from toolkit.answers.records import Verdict
from toolkit.models.text.chat import CLOSING

SettledBy = Literal["text", "number", "letter", "math-verify"]
"""What told whether an answer is the wanted one."""


class Reply(NamedTuple):
    """An answer as it was written, and what is known of it."""

    text: str
    """Without the token that ends it."""
    wanted: str | None
    """The right answer; None where it is not known."""
    ended: bool
    """Whether it ended by itself, before the limit of tokens."""
    thinks: bool = False
    """Whether it begins within a thought, as after a prompt that ends with `<think>`; it then answers behind `</think>`
    only."""


@dataclass(frozen=True, kw_only=True)
class Grade:
    """What an answer says, and whether that is right."""

    verdict: Verdict | None
    """None where the right answer is not known."""
    said: str | None
    """The final answer as it is written there; None where none is marked, and where the answer was cut off."""
    settled_by: SettledBy | None = None
    """None where nothing was compared."""
    disputed: bool = False
    """Whether math-verify says that it is right, and the comparison of text, numbers and letters does not."""
    reason: str | None = None
    """Why a wrong answer could not be compared: no parser reads it, or math-verify took too long."""


class Grader:
    """Grades answers; the processes that it may start end with the `with` block.

    Where `boxed`, questions asked for a `\\boxed{}`, and only what stands in one counts as an answer.
    """

    def __init__(self, *, boxed: bool = False) -> None:
        self.boxed = boxed

    def __enter__(self) -> "Grader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def grade_each(self, replies: Iterable[Reply]) -> list[Grade]:
        """Return the grade of each answer, in their order."""
        return [self._grade(reply) for reply in replies]

    def _grade(self, reply: Reply) -> Grade:
        _, closing, answer = reply.text.rpartition(CLOSING)
        said = None if not reply.ended or (reply.thinks and not closing) else marked_answer(answer)
        if reply.wanted is None:
            return Grade(verdict=None, said=said)
        if not reply.ended:
            return Grade(verdict="cut off", said=None)
        if not said:
            return Grade(verdict="unanswered", said=None)
        return Grade(verdict="right" if is_right(said, reply.wanted) else "wrong", said=said, settled_by="text")


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


def spoken_answer(text: str) -> str:
    """Return the final answer of a text: boxed, after `####`, after "answer is", else its last number, else all text.

    Where the mark is empty, so is the answer: an empty box is no answer, whatever number comes before it.
    """
    closing = text.rpartition(CLOSING)[2]
    marked = marked_answer(closing)
    return plain_answer(next(reversed(_numbers(closing)), closing)) if marked is None else marked


def marked_answer(text: str) -> str | None:
    """Return what a text marks as its answer; None where it marks nothing."""
    boxes = [box for part in text.split(BOXED)[1:] if (box := _braced(part)) is not None]
    marked = [boxes, *(pattern.findall(text) for pattern in SAID)]
    return next((plain_answer(said[-1]) for said in marked if said), None)


def _braced(text: str) -> str | None:
    """Return the text up to the brace that closes one opened before the text; None where no brace does."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if not depth:
            return text[:place]
    return None


def is_right(said: str, wanted: str) -> bool:
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
    return plain_answer(text)


def plain_answer(answer: str) -> str:
    """Return an answer without separators of thousands, marks around it, and capitals."""
    return SPELLINGS[1][0].sub("", answer).strip().rstrip("$.*,;:!?").lstrip("$*").strip().casefold()
