"""What steering costs at each strength: accuracy and finished answers lost, and whose answers become longer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from toolkit.answers.means import UNIT
from toolkit.experiments.steering.study import Steered, SteeringStudy
from toolkit.statistics.estimates import Estimate, given_one, mean
from toolkit.statistics.shares import change_of_share


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Changes at one strength from the unsteered answers to the same questions."""

    strength: float
    accuracy: Estimate
    finished: Estimate
    length_right: Estimate
    """Tokens, of questions that are answered rightly in both arms."""
    n_right: int
    length_other: Estimate
    """Tokens, of questions that are answered wrongly in either arm."""
    n_other: int


def costs(steered: Steered, study: SteeringStudy) -> list[Cost]:
    """Compute the cost of every strength, in rising order; accuracies are NaN where right answers are not known."""
    before, after = study.unsteered, steered.answers
    changes = after.length - before.length
    told = ~before.correct[0].isnan()
    right = (before.correct == 1) & (after.correct == 1)
    return [
        Cost(
            strength=strength,
            accuracy=given_one(change_of_share(after.correct[arm] - before.correct[0], unit=UNIT)),
            finished=given_one(change_of_share(after.finished[arm] - before.finished[0], unit=UNIT)),
            length_right=given_one(mean(changes[arm][right[arm]], unit=UNIT)),
            n_right=int(right[arm].sum()),
            length_other=given_one(mean(changes[arm][told & ~right[arm]], unit=UNIT)),
            n_other=int((told & ~right[arm]).sum()),
        )
        for arm, strength in enumerate(study.strengths)
    ]


def kept_accuracy(found: Sequence[Cost], side: int) -> Cost | None:
    """Return the strongest strength on one side of 0 up to which accuracy nowhere falls: no interval is below 0.

    None where the weakest strength lowers it already, and where accuracy has no interval.
    """
    kept = None
    for cost in sorted((each for each in found if each.strength * side > 0), key=lambda each: abs(each.strength)):
        if cost.accuracy.high is None or cost.accuracy.high < 0:
            break
        kept = cost
    return kept


def known(found: Sequence[Cost]) -> bool:
    """Whether right answers are known."""
    return not torch.tensor([cost.accuracy.value for cost in found]).isnan().all()
