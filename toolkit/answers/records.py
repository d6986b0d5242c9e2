"""One answer as it is kept: what was written, what it says, and whether that is right."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from toolkit.artifacts import replace_text

Verdict = Literal["right", "wrong", "unanswered", "cut off"]
"""An answer that ended and says nothing is unanswered; one that did not end before the limit of tokens is cut off."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What one arm wrote, and where it belongs."""

    arm: str
    question: int
    """Number of the question."""
    sample: int
    token_ids: tuple[int, ...]
    """Of a forced answer those that follow its start."""
    text: str
    """The same as text, with the token that ends it."""
    budget: int | None = None
    """Tokens of thinking after which this answer was forced; None for one that was written freely."""


@dataclass(frozen=True, kw_only=True)
class AnswerRecord:
    """One arm's answer to one question, measured and graded."""

    arm: str
    question: int
    """Number of the question."""
    sample: int
    text: str
    """As it was written, without the token that ends it; of a forced answer what follows the thinking."""
    tokens: int
    """Tokens that were written, with the one that ends it."""
    thought: int | None
    """Tokens before `</think>`; None where the thinking did not end, or the model writes none."""
    hesitations: int
    """Tokens of hesitation words."""
    finished: bool
    """Whether it ended by itself, before the limit of tokens."""
    said: str | None
    """The final answer; None where it says none."""
    verdict: Verdict | None
    """None where the right answer is not known."""
    disputed: bool = False
    """Whether math-verify says that it is right, and the comparison of text, numbers and letters does not."""
    reason: str | None = None
    """Why a wrong answer could not be compared; None where it could."""
    budget: int | None = None
    """Tokens of thinking after which this answer was forced; None for one that was written freely."""

    @property
    def length(self) -> int:
        """Tokens before `</think>`; all tokens where the thinking did not end."""
        return self.tokens if self.thought is None else self.thought

    @property
    def log_length(self) -> float:
        """Natural logarithm of the length; 0 where that is 0."""
        return math.log(max(1, self.length))

    @property
    def censored(self) -> bool:
        """Whether the limit of tokens cut its thinking, so that the length is at least what it says."""
        return self.thought is None and not self.finished

    @property
    def hesitation(self) -> float:
        """Hesitation tokens per 1,000 tokens."""
        return 1000 * self.hesitations / max(1, self.tokens)

    @property
    def correct(self) -> bool | None:
        """Whether it is right and finished; None where the right answer is not known."""
        return None if self.verdict is None else self.verdict == "right"


def write_records(path: Path, records: Iterable[AnswerRecord], questions: Sequence[str]) -> None:
    """Write a line of JSON for each answer, with all that is known of it but for its text, in one move.

    In place of its number stands the question; the file of answers has the text under the same arm, question, sample
    and budget.
    """
    lines = ({**asdict(each), "question": questions[each.question], "length": each.length} for each in records)
    kept = ({name: value for name, value in line.items() if name != "text"} for line in lines)
    replace_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
