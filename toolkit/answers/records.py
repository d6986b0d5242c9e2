"""One answer as it is kept: what was written, what it says, and whether that is right."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["right", "wrong", "unanswered", "cut off"]
"""An answer that ended and says nothing is unanswered; one that did not end before the limit of tokens is cut off."""


@dataclass(frozen=True, kw_only=True)
class AnswerRecord:
    """One arm's answer to one question: a line of the file that keeps all answers."""

    arm: str
    question: int
    """Number of the question."""
    sample: int
    text: str
    """As it was written, without the token that ends it."""
    tokens: int
    """Tokens written in all, with the one that ends it."""
    thought: int | None
    """Tokens before `</think>`; None where the thinking did not end, or the model writes none."""
    hesitations: int
    """Tokens of hesitation words."""
    said: str | None
    """The final answer; None where it says none."""
    verdict: Verdict | None
    """None where the right answer is not known."""
    budget: int | None = None
    """Tokens of thinking after which this answer was forced; None for one that was written freely."""

    @property
    def finished(self) -> bool:
        """Whether it ended before the limit of tokens."""
        return self.verdict != "cut off"
