"""Balanced accuracy: the mean of the shares of positives and of negatives that are told rightly."""

from math import nan, sqrt

from jaxtyping import Bool, Int
from torch import Tensor

from toolkit.statistics.estimates import Estimate, too_few
from toolkit.statistics.shares import share


def balanced_accuracy(
    said: Bool[Tensor, " sample"], truth: Bool[Tensor, " sample"], groups: Int[Tensor, " sample"]
) -> Estimate:
    """Return the mean of both shares that are right, with its 95 % interval over groups; chance gives .5.

    The interval joins those of the two shares, each over groups as in `share`, as if the two were independent
    (Newcombe 1998, method 10, for a mean in place of a difference). Where one kind has no sample, the value is NaN;
    fewer than 8 groups or 20 samples of either kind have no interval, and `note` says so.
    """
    right = (said == truth).double()
    if truth.all() or not truth.any():
        kind = "negative" if len(truth) and truth.all() else "positive"
        return Estimate(nan, note=f"there is no {kind} sample")
    shares = [share(right[of_kind], groups[of_kind]) for of_kind in (truth, ~truth)]
    value = sum(each.value for each in shares) / 2
    down, up = 0.0, 0.0
    for each, of_kind in zip(shares, (truth, ~truth), strict=True):
        if each.low is None or each.high is None:
            return Estimate(value, note=too_few(len(groups[of_kind].unique()), int(of_kind.sum()), samples="samples"))
        down, up = down + (each.value - each.low) ** 2, up + (each.high - each.value) ** 2
    return Estimate(value, value - sqrt(down) / 2, value + sqrt(up) / 2)
