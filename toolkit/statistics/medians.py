"""Medians with their intervals."""

from math import nan, sqrt

from jaxtyping import Float, Int
from scipy.special import stdtrit
from torch import Tensor

from toolkit.statistics.estimates import (
    FEWEST_SAMPLES,
    LEVEL,
    Estimate,
    clustered_freedom,
    mean,
    sums_by_group,
    too_few,
)


def median(
    values: Float[Tensor, " sample"], groups: Int[Tensor, " sample"] | None = None, *, unit: str = "document"
) -> Estimate:
    """Return the median of the values that are not NaN, with its 95 % interval over groups; NaN where there are none.

    The ends are the values below which as many lie as half of them give or take the error of that share, over groups as
    in `mean` (Woodruff 1952). Without `groups` each sample stands for itself. A value that is known only as "at least
    this" may stand for itself while fewer than half are so; an end that is such a value is "at least this" too. Fewer
    than 8 groups, or 20 samples in groups, have no interval.
    """
    known = ~values.isnan()
    values = values[known].double().cpu()
    if len(values) == 0:
        return Estimate(nan)
    middle = float(values.quantile(0.5))
    groups = None if groups is None else groups[known].cpu()
    _, sizes = sums_by_group(values, groups)
    below = mean((values <= middle).double(), groups, unit=unit)
    if why := too_few(len(sizes), FEWEST_SAMPLES if groups is None else len(values), f"{unit}s"):
        return Estimate(middle, note=why)
    freedom = clustered_freedom(sizes)
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2))
    spread = reach * _error_of_a_half(below, sizes)
    low, high = (
        float(values.quantile(min(1.0, max(0.0, place)), interpolation=side))
        for place, side in ((0.5 - spread, "lower"), (0.5 + spread, "higher"))
    )
    error = (high - low) / (2 * reach)
    return Estimate(middle, low, high, error or None, freedom)


def _error_of_a_half(below: Estimate, sizes: Float[Tensor, " group"]) -> float:
    """Return the standard error of a share of a half, from that of the share that lies at or below the median.

    Where many values are the median itself that share is far above a half, so its error is taken in units of what
    independent samples would have.
    """
    n = float(sizes.sum())
    share = below.value * (1 - below.value)
    alike = 1.0 if below.error is None or share == 0 else below.error**2 * n / share
    return sqrt(0.25 * alike / n)
