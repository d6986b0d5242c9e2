"""Accuracy at a budget: thinking is stopped after so many tokens, and an answer is forced."""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.statistics.estimates import Estimate

POINTS = 8
BOXED_START, SPOKEN_START = "**Final Answer**\n\\boxed{", "The answer is"
"""How a forced answer begins: for models that are asked for a `\\boxed{}`, and for the embedded pair."""


@dataclass(frozen=True, kw_only=True)
class AtBudget:
    """One point of the curve."""

    tokens: int
    """Tokens of thinking after which it was stopped."""
    accuracy: Estimate
    """Share of right answers, its interval over questions. Where thinking had ended by then, the free answer counts."""
    forced: int
    """Answers that were forced, of all samples."""
    answers: int
    """Answers in all."""


def budget_grid(limit: int) -> tuple[int, ...]:
    """Return budgets from the limit of tokens down, each half of the next, ascending."""
    return tuple(sorted({max(1, limit >> step) for step in range(POINTS)}))


def check_budgets(budgets: Sequence[int], limit: int) -> None:
    """Raise `ValueError` for a budget below 1 or above the limit of tokens of a free answer."""
    for budget in budgets:
        if not 1 <= budget <= limit:
            raise ValueError(
                f"budget {budget:,}: must be from 1 to {limit:,}, the new tokens of a free answer; leave it out, or"
                " ask for more new tokens"
            )
