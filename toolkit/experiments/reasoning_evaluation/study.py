"""From the records of answers to what is said of arms and of their differences."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.answers.answer_tables import table
from toolkit.answers.budgets import correct_at, curve
from toolkit.answers.means import UNIT, mean_of_questions, share_of_questions
from toolkit.answers.records import AnswerRecord, Verdict
from toolkit.experiments.reasoning_evaluation.results import MEASURES, ArmResults, Paired
from toolkit.statistics.estimates import Estimate, mean
from toolkit.statistics.medians import median
from toolkit.statistics.shares import change_of_share

Value = Callable[[AnswerRecord], float | bool | None]
VALUES: dict[str, Value] = {
    "accuracy": lambda each: each.correct,
    "length": lambda each: each.length,
    "length_median": lambda each: each.length,
    "cut_share": lambda each: each.censored,
    "finished_share": lambda each: each.finished,
    "unanswered_share": lambda each: None if each.verdict is None else each.verdict == "unanswered",
    "hesitation_per_1k": lambda each: each.hesitation,
}
"""How each of `MEASURES` is read off an answer."""
SHARES = ("accuracy", "cut_share", "finished_share", "unanswered_share")
SHOWN_OF_EACH = 2


def arm_results(free: Sequence[AnswerRecord], forced: Sequence[AnswerRecord], budgets: Sequence[int]) -> ArmResults:
    """Return what is said of one arm's answers."""
    return ArmResults(
        records=tuple(free),
        forced=tuple(forced),
        estimates={measure: _estimate(measure, table(free, VALUES[measure])) for measure in MEASURES},
        budget=curve(free, forced, budgets),
        length_by_verdict=_length_by_verdict(free),
        verdicts={verdict: sum(each.verdict == verdict for each in free) for verdict in get_args(Verdict)},
    )


def _estimate(measure: str, values: Float[Tensor, "question sample"]) -> Estimate:
    if measure == "length_median":
        return _median(values)
    if measure in SHARES:
        known = values[~values.isnan()]
        return share_of_questions(values.mean(dim=1)) if len(known) else Estimate(math.nan)
    return mean_of_questions(values.mean(dim=1))


def _median(values: Float[Tensor, "question sample"]) -> Estimate:
    """Return the median of all answers; of several samples a question is a group."""
    questions, samples = values.shape
    groups = None if samples == 1 else torch.arange(questions).repeat_interleave(samples)
    return median(values.flatten(), groups, unit=UNIT)


def _length_by_verdict(free: Sequence[AnswerRecord]) -> dict[Verdict, Estimate]:
    found: dict[Verdict, Estimate] = {}
    for verdict in get_args(Verdict):
        lengths = table(free, lambda each, verdict=verdict: each.length if each.verdict == verdict else None)
        if not lengths.isnan().all():
            found[verdict] = mean_of_questions(lengths.nanmean(dim=1))
    return found


def paired_results(arm: ArmResults, first: ArmResults) -> Paired:
    """Return one arm less the first, answer by answer; both have the same questions, samples and budgets."""

    def change(value: Value) -> Float[Tensor, "question sample"]:
        return table(arm.records, value) - table(first.records, value)

    budgets = [point.tokens for point in arm.budget]
    return Paired(
        estimates={measure: difference(measure, change(VALUES[measure])) for measure in MEASURES},
        log_length=mean(change(lambda each: each.log_length).mean(dim=1), unit=UNIT),
        budget=tuple(
            (budget, difference("accuracy", _right_at(arm, budget) - _right_at(first, budget))) for budget in budgets
        ),
    )


def difference(measure: str, changes: Float[Tensor, "question sample"]) -> Estimate:
    """Return the mean of paired changes of a measure, or their median, with its interval over questions."""
    if measure == "length_median":
        return _median(changes)
    trials = measure in SHARES and changes.shape[1] == 1
    return change_of_share(changes[:, 0], unit=UNIT) if trials else mean(changes.mean(dim=1), unit=UNIT)


def _right_at(arm: ArmResults, budget: int) -> Float[Tensor, "question sample"]:
    return correct_at(arm.records, arm.forced, budget)


def chosen_questions(arms: Mapping[str, ArmResults]) -> tuple[int, ...]:
    """Return the questions that are worth showing, by a rule that knows no text.

    For each arm but the first in turn: the first two questions that it alone of the two answers rightly, the first two
    that only the first arm does, and the one whose lengths differ by the largest factor. First samples count.
    """
    first, *others = arms.values()
    chosen: list[int] = []
    for other in others:
        pairs = list(zip(_first_samples(first), _first_samples(other), strict=True))
        gained = [b.question for a, b in pairs if b.correct and not a.correct]
        lost = [b.question for a, b in pairs if a.correct and not b.correct]
        longest = max(pairs, key=lambda pair: abs(math.log(max(1, pair[1].length) / max(1, pair[0].length))))
        chosen += [*gained[:SHOWN_OF_EACH], *lost[:SHOWN_OF_EACH], longest[0].question]
    return tuple(dict.fromkeys(chosen)) if others else tuple(range(SHOWN_OF_EACH))


def _first_samples(arm: ArmResults) -> list[AnswerRecord]:
    return sorted((each for each in arm.records if each.sample == 0), key=lambda each: each.question)
