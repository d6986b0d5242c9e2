"""Balanced accuracy: the mean over classes, such as positives and negatives, of the share that is told rightly."""

from math import nan, sqrt

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.statistics.estimates import Estimate, over_seeds, too_few
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


def balanced_over_seeds(
    scores: Float[Tensor, "seed sample"], truth: Int[Tensor, " sample"], groups: Int[Tensor, " sample"]
) -> Estimate:
    """Return the mean over classes of a class's mean score, averaged over seeds; with its 95 % interval as in
    `over_seeds`, which contains how groups and seeds vary.

    Scores of 1 where the class is told rightly and 0 elsewhere give the balanced accuracy, their differences its
    paired difference. Each sample stands for what it adds to the mean to first order, so that scores which are alike
    within each class have no error, however many samples of each class a group has.
    """
    classes, number = truth.unique(return_inverse=True)
    member = torch.nn.functional.one_hot(number, len(classes)).to(scores.dtype)
    sizes = member.sum(dim=0)
    means = scores @ member / sizes
    weight = len(truth) / (len(classes) * sizes)
    values = means.mean(dim=1, keepdim=True) + weight[number] * (scores - means[:, number])
    return over_seeds(values, groups)
