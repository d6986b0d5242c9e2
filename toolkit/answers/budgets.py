"""Accuracy at a budget: thinking is stopped after so many tokens, and an answer is forced."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.answers.answer_tables import table
from toolkit.answers.answering import Answerer, Row
from toolkit.answers.grading import BOXED
from toolkit.answers.means import share_of_questions
from toolkit.answers.records import AnswerRecord, Written
from toolkit.models.text.chat import CLOSING, closing_ids
from toolkit.statistics.estimates import Estimate

POINTS = 8
BOXED_START, SPOKEN_START = f"**Final Answer**\n{BOXED}", "The answer is"
"""How a forced answer begins: for models that are asked for a `\\boxed{}`, and for the embedded pair."""
SOLUTION_START = "Answer:"
"""How it begins behind a worked solution of the embedded pair."""
FORCED_TOKENS = 32
"""Tokens of a forced answer, behind its start."""


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


def start_of(instruction: str) -> str:
    """Return how a forced answer begins, as the instruction below a question asks for it."""
    return BOXED_START if BOXED in instruction else SPOKEN_START


def behind_of(arm: Answerer, start: str) -> str:
    """Return what follows where an arm's thinking, or its worked solution, is stopped; `start` begins the answer."""
    if arm.plainly:
        return f"\n{SOLUTION_START if start == SPOKEN_START else start}"
    return f"\n{CLOSING}\n\n{start}" if closing_ids(arm.model.tokenizer) else f"\n\n{start}"


def still_thinking(free: AnswerRecord, budget: int) -> bool:
    """Whether a free answer's thinking had not ended after so many tokens."""
    return free.length > budget or free.censored


def forced_row(free: Row, written: Written, budget: int, behind: str, tokenizer: PreTrainedTokenizerBase) -> Row:
    """Return the answer that is to be written where a free one is stopped after so many tokens of thinking; `behind`
    follows there.
    """
    thought = written.token_ids[:budget]
    ended = tokenizer.decode(thought[-1:]).endswith("\n")  # as before a `</think>` that the model writes itself
    ids = tokenizer(behind.removeprefix("\n") if ended else behind, add_special_tokens=False)["input_ids"]
    return Row(
        arm=free.arm,
        question=free.question,
        sample=free.sample,
        prompt=free.prompt,
        seed=free.seed,
        begun=[*thought, *ids],
        budget=budget,
    )


def correct_at(
    free: Sequence[AnswerRecord], forced: Sequence[AnswerRecord], budget: int
) -> Float[Tensor, "question sample"]:
    """Return whether each of one arm's answers is right at a budget; NaN where the right answer is not known."""
    stopped = {(each.question, each.sample): each for each in forced if each.budget == budget}

    def correct(each: AnswerRecord) -> bool | None:
        counts = stopped[each.question, each.sample] if still_thinking(each, budget) else each
        return counts.correct

    return table(free, correct)


def curve(free: Sequence[AnswerRecord], forced: Sequence[AnswerRecord], budgets: Sequence[int]) -> tuple[AtBudget, ...]:
    """Return one arm's accuracy at each budget, ascending."""
    return tuple(
        AtBudget(
            tokens=budget,
            accuracy=share_of_questions(correct_at(free, forced, budget).mean(dim=1)),
            forced=sum(still_thinking(each, budget) for each in free),
            answers=len(free),
        )
        for budget in sorted(budgets)
    )
