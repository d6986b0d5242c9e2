"""Measures one answer of a reasoning model: length of the thinking, hesitation, and whether it is right."""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.answers.grading import is_right, spoken_answer
from toolkit.models.text.chat import CLOSING


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
        correct=None if wanted is None else said is not None and is_right(said, wanted),
    )


def _first(token_ids: Sequence[int], wanted: Sequence[int]) -> int:
    """Return the index where `wanted` begins among the ids; the number of ids where it does not occur."""
    width = len(wanted)
    starts = range(len(token_ids) - width + 1) if width else ()
    return next((i for i in starts if list(token_ids[i : i + width]) == list(wanted)), len(token_ids))
