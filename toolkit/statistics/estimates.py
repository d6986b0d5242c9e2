"""Means and ratios with the intervals that hold for few documents and few seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import torch
from jaxtyping import Float, Int
from scipy.special import stdtr, stdtrit
from torch import Tensor

INTERVAL = torch.tensor([0.025, 0.975], dtype=torch.float64)
LEVEL = 0.95
FEWEST_GROUPS = 8
"""Below this many documents no interval is given: simulated intervals cover far less than they say."""
FEWEST_SAMPLES = 20
"""Below this many positions of documents no interval is given."""
GIVEN_ONE = "given this crosscoder"
"""The note of an interval that knows one crosscoder alone, and nothing of how another seed would differ."""


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval, if it has one: at 95 %, unless its table names another level."""

    value: float
    low: float | None = None
    high: float | None = None
    error: float | None = None
    """Standard error of the value, where the interval is the value ± a quantile of t times this."""
    freedom: float | None = None
    """Degrees of freedom of that t distribution."""
    note: str = ""
    """Why there is no interval, or what the interval takes as given; empty where there is nothing to say."""

    def __str__(self) -> str:
        """The value with its interval, or with what keeps it from having one."""
        if self.low is None or self.high is None:
            return f"{self.value:.3f} ({self.note})" if self.note else f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def p_above(self, least: float) -> float:
        """Return the two-sided p value of "the true value is `least`"; 1 where the value is not above it or has no
        standard error."""
        if self.error is None or self.freedom is None or not self.value > least:
            return 1.0
        if self.error == 0:
            return 0.0
        return float(2 * stdtr(self.freedom, -(self.value - least) / self.error))


def interval(values: Float[Tensor, " value"]) -> tuple[float, float]:
    """Return the ends of the central 95 % of the values; NaN is left out."""
    low, high = values.double().nanquantile(INTERVAL.to(values.device)).tolist()
    return low, high


def with_error(value: float, error: float, freedom: float, note: str = "", level: float = LEVEL) -> Estimate:
    """Return an estimate with its t interval at `level`."""
    reach = float(stdtrit(freedom, (1 + level) / 2)) * error
    return Estimate(value, value - reach, value + reach, error, freedom, note)


def mean(
    values: Float[Tensor, " sample"], groups: Int[Tensor, " sample"] | None = None, *, unit: str = "document"
) -> Estimate:
    """Return the mean of the values that are not NaN, with its 95 % interval over groups; NaN where there are none.

    Samples of one group, such as positions of one document, are alike: the group is the unit that was drawn, and the
    error is that of a ratio of sums (Cochran 1977, chapter 6), with a t distribution of as many degrees of freedom as
    groups less one. For paired samples give their differences. Without `groups` each sample stands for itself. Fewer
    than 8 groups, or 20 samples in groups, have no interval; `note` says so, and `unit` is what it calls a group.
    """
    return over_seeds(values[None], groups, unit=unit)


def over_seeds(
    values: Float[Tensor, "seed sample"], groups: Int[Tensor, " sample"] | None = None, *, unit: str = "document"
) -> Estimate:
    """Return the mean over seeds and samples, with a 95 % interval that contains how both vary.

    A row holds what one crosscoder, or one draw of a control, gives at the same samples. The squared error is that of
    the seeds' means, s² / seeds, added to that of the groups' means over the seeds; the degrees of freedom are
    Satterthwaite's (1946). One row alone gives the interval over groups, as `mean` does. Samples that are NaN in any
    row are left out.
    """
    known = ~values.isnan().any(dim=0)
    values = values[:, known].double().cpu()
    if values.shape[1] == 0:
        return Estimate(nan)
    sums, sizes = _by_group(values.mean(dim=0), None if groups is None else groups[known])
    value, n_groups = (sums.sum() / sizes.sum()).item(), len(sums)
    if why := too_few(n_groups, FEWEST_SAMPLES if groups is None else values.shape[1], f"{unit}s"):
        return Estimate(value, note=why)
    deviations = (sums - value * sizes).square().sum() * n_groups / (n_groups - 1)
    of_groups = float(deviations) / float(sizes.sum()) ** 2
    n_seeds = len(values)
    of_seeds = float(values.mean(dim=1).var()) / n_seeds if n_seeds > 1 else 0.0
    return with_error(
        value, sqrt(of_groups + of_seeds), satterthwaite([(of_groups, n_groups - 1), (of_seeds, n_seeds - 1)])
    )


def too_few(n_groups: int, n_samples: int, units: str = "documents", samples: str = "positions") -> str:
    """Return why so few groups, or samples in them, have no interval; nothing where they are enough."""
    if n_groups < FEWEST_GROUPS:
        return f"{n_groups} {units}: an interval needs {FEWEST_GROUPS}"
    if n_samples < FEWEST_SAMPLES:
        return f"{n_samples} {samples}: an interval needs {FEWEST_SAMPLES}"
    return ""


def clustered_freedom(sizes: Float[Tensor, " group"]) -> float:
    """Return the degrees of freedom of the error of a mean over groups that weigh as `sizes`.

    One less than the number of groups of one size; less where a few large groups make up most of the mean. Source: Bell
    & McCaffrey 2002, for the means of groups being alike in variance.
    """
    w = sizes.double() / sizes.sum()
    d = w.square() / (1 - w)
    ww, wd, dd, sum_d = (float(each.sum()) for each in (w * w, w * d, d * d, d))
    trace = sum_d - 2 * wd + sum_d * ww
    cross = float((d * (sum_d * w.square() - 2 * w * d)).sum())
    squared = dd + 2 * cross + 2 * (ww * dd + wd**2) - 4 * sum_d * ww * wd + (sum_d * ww) ** 2
    return trace**2 / squared


def satterthwaite(parts: Sequence[tuple[float, float | int]]) -> float:
    """Return the degrees of freedom of a sum of variances, each with its own (Satterthwaite 1946)."""
    kept = [(variance, freedom) for variance, freedom in parts if variance > 0]
    if not kept:
        return float(parts[0][1])
    return sum(v for v, _ in kept) ** 2 / sum(v**2 / freedom for v, freedom in kept)


def ratio_of_sums(
    sums: Float[Tensor, "document *quantity"], sizes: Float[Tensor, " document"], level: float = LEVEL
) -> tuple[Float[Tensor, "*quantity"], Float[Tensor, "*quantity"]]:
    """Return R = Σ sums / Σ sizes and the half-width of its interval at `level`, documents being the samples.

    Tokens of one document are alike, so an interval that took each for a sample of its own would be too narrow. The
    variance is that of sums − R · sizes (Cochran 1977, *Sampling Techniques*, chapter 6), computed in float64.
    Raises `ValueError` for fewer than two documents.
    """
    n = len(sizes)
    if n < 2:
        raise ValueError(f"{n} documents give no interval: two are needed at least")
    sums, sizes = sums.double(), sizes.double().reshape(n, *[1] * (sums.ndim - 1))
    ratio = sums.sum(dim=0) / sizes.sum()
    deviations = (sums - ratio * sizes).square().sum(dim=0) * n / (n - 1)
    return ratio, float(stdtrit(n - 1, (1 + level) / 2)) * deviations.sqrt() / sizes.sum()


def around(values: Float[Tensor, " value"], half_widths: Float[Tensor, " value"]) -> list[Estimate]:
    """Return each value with the interval from value − half width to value + half width."""
    ends = torch.stack([values, values - half_widths, values + half_widths], dim=1)
    return [Estimate(*row) for row in ends.tolist()]


def _by_group(values: Tensor, groups: Tensor | None) -> tuple[Tensor, Tensor]:
    if groups is None:
        return values, torch.ones_like(values)
    names, place = groups.cpu().unique(return_inverse=True)
    zeros = values.new_zeros(len(names))
    return zeros.index_add(0, place, values), zeros.index_add(0, place, torch.ones_like(values))
