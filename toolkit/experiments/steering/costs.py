"""What steering costs at each strength: accuracy and finished answers lost, and whose answers become longer."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.experiments.steering.study import Steered, SteeringStudy
from toolkit.statistics.estimates import FEWEST_GROUPS, Estimate, given_one, mean
from toolkit.statistics.shares import Z

UNIT = "question"


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
            accuracy=given_one(change_of_share(after.correct[arm] - before.correct[0])),
            finished=given_one(change_of_share(after.finished[arm] - before.finished[0])),
            length_right=given_one(mean(changes[arm][right[arm]], unit=UNIT)),
            n_right=int(right[arm].sum()),
            length_other=given_one(mean(changes[arm][told & ~right[arm]], unit=UNIT)),
            n_other=int((told & ~right[arm]).sum()),
        )
        for arm, strength in enumerate(study.strengths)
    ]


def change_of_share(changes: Float[Tensor, " question"]) -> Estimate:
    """Return the mean of paired changes of a share, each from -1 to 1, with its 95 % interval; NaN is left out.

    Half a question is added to each of the four outcomes of a pair (Agresti & Min 2005), so that the interval has a
    width where no answer changes. Fewer than 8 questions have none, and `note` says so.
    """
    changes = changes[~changes.isnan()].double()
    n = len(changes)
    plain = mean(changes, unit=UNIT)
    if n < FEWEST_GROUPS:
        return plain
    middle = float(changes.sum()) / (n + 2)
    reach = Z * sqrt((float(changes.square().sum()) + 1) / (n + 2) - middle**2) / sqrt(n + 2)
    return Estimate(plain.value, max(-1.0, middle - reach), min(1.0, middle + reach))


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
