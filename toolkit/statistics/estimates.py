"""Means and ratios with intervals that hold for few documents, unequal and skewed ones too, and for few seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cbrt, inf, isnan, nan, sqrt

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
ROUNDING = 1e-12  # share of a value below which differences are what rounding makes
LEAST_SKEW = 1e-6  # below this the division by it loses more digits than the correction is worth
GIVEN_ONE, GIVEN_ONE_ADAPTER = "given this crosscoder", "given this adapter"
"""The note of an interval that knows one crosscoder alone, and nothing of how another seed would differ."""


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval, if it has one: at 95 %, unless its table names another level."""

    value: float
    low: float | None = None
    high: float | None = None
    error: float | None = None
    """Standard error of the value."""
    freedom: float | None = None
    """Degrees of freedom of the t distribution that the interval and the p value come from."""
    note: str = ""
    """Why there is no interval, or what the interval takes as given; empty where there is nothing to say."""
    skew: float = 0.0
    """Third moment of the value's error over the cube of `error`: with it the interval reaches farther to one side."""

    def __str__(self) -> str:
        """The value with its interval, or with what keeps it from having one."""
        if self.low is None or self.high is None:
            value = "not known" if isnan(self.value) else f"{self.value:.3f}"
            return f"{value} ({self.note})" if self.note else value
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def p_above(self, least: float) -> float:
        """Return the two-sided p value of "the true value is `least`"; 1 where the value is not above it or has no
        standard error."""
        if self.error is None or self.freedom is None or not self.value > least:
            return 1.0
        if self.error == 0:
            return 0.0
        t = _without_skew((self.value - least) / self.error, self.skew)
        return min(1.0, float(2 * stdtr(self.freedom, -t)))

    def within(self, least: float, most: float = inf) -> "Estimate":
        """Return the estimate with the part of its interval that its quantity can have: a rate is not below 0."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=max(self.low, least), high=min(self.high, most))

    def reflected(self, about: float = 0.0) -> "Estimate":
        """Return the estimate of `about` less the value: 1 − cosine, or how much smaller something is."""
        low = None if self.high is None else about - self.high
        high = None if self.low is None else about - self.low
        return replace(self, value=about - self.value, low=low, high=high, skew=-self.skew)


def interval(values: Float[Tensor, " value"]) -> tuple[float, float]:
    """Return the ends of the central 95 % of the values; NaN is left out."""
    low, high = values.double().nanquantile(INTERVAL.to(values.device)).tolist()
    return low, high


def with_error(
    value: float, error: float, freedom: float, note: str = "", *, level: float = LEVEL, skew: float = 0.0
) -> Estimate:
    """Return an estimate with its t interval at `level`, corrected for skew (Hall 1992)."""
    reach = float(stdtrit(freedom, (1 + level) / 2))
    low, high = (value - error * _with_skew(t, skew) for t in (reach, -reach))
    return Estimate(value, low, high, error, freedom, note, skew)


def _without_skew(t: float, skew: float) -> float:
    """Return the t statistic that remains when a skew is taken out (Hall 1992, the monotone transformation)."""
    return t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6


def _with_skew(t: float, skew: float) -> float:
    """Return the inverse of `_without_skew`."""
    return t if abs(skew) < LEAST_SKEW else 3 / skew * (cbrt(1 + skew * (t - skew / 6)) - 1)


def given_one(estimate: Estimate, note: str = GIVEN_ONE) -> Estimate:
    """Return the estimate with the note that it knows one crosscoder alone, unless its note says something already."""
    return replace(estimate, note=estimate.note or note)


def mean(
    values: Float[Tensor, " sample"], groups: Int[Tensor, " sample"] | None = None, *, unit: str = "document"
) -> Estimate:
    """Return the mean of the values that are not NaN, with its 95 % interval over groups; NaN where there are none.

    Samples of one group, such as positions of one document, are alike: the group is the unit that was drawn, as in
    `ratio_of_sums`. For paired samples give their differences. Without `groups` each sample stands for itself. Fewer
    than 8 groups, or 20 samples in groups, have no interval, nor have groups that do not differ; `note` says so, and
    `unit` is what it calls a group. For samples of 0 and 1 `share` has an interval even so.
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
    sums, sizes = sums_by_group(values.mean(dim=0), None if groups is None else groups[known])
    seeds = _Part.of_seeds(values.mean(dim=1)) if values.numel() and len(values) > 1 else None
    return _ratio(sums, sizes, seeds, n_samples=FEWEST_SAMPLES if groups is None else values.shape[1], unit=unit)


def ratio_of_sums(
    sums: Float[Tensor, " group"], sizes: Float[Tensor, " group"], *, level: float = LEVEL, unit: str = "document"
) -> Estimate:
    """Return Σ sums / Σ sizes with its interval at `level`, groups being the samples; groups of size 0 do not count.

    Tokens of one document are alike, so an interval that took each for a sample of its own would be too narrow. The
    error is that of a ratio with each group left out in turn, about the value itself (Cochran 1977, chapter 6;
    Bell & McCaffrey 2002, CR3); the t distribution has `clustered_freedom`; and the skew of the groups moves the ends
    (Hall 1992). Fewer than 8 groups, or a total size below 20, have no interval; `note` says so.
    """
    counted = sizes > 0
    sums, sizes = (part[counted].double().cpu() for part in (sums, sizes))
    return _ratio(sums, sizes, None, n_samples=int(sizes.sum()), level=level, unit=unit)


def ratio_over_seeds(
    sums: Float[Tensor, "seed group"], sizes: Float[Tensor, " group"], *, unit: str = "document"
) -> Estimate:
    """Return the mean over seeds of Σ sums / Σ sizes, with a 95 % interval that contains how seeds and groups vary.

    The groups are as in `ratio_of_sums`, the seeds as in `over_seeds`; all seeds were measured on the same groups.
    """
    counted = sizes > 0
    sums, sizes = sums[:, counted].double().cpu(), sizes[counted].double().cpu()
    seeds = _Part.of_seeds(sums.sum(dim=1) / sizes.sum()) if len(sums) > 1 and len(sizes) else None
    return _ratio(sums.mean(dim=0), sizes, seeds, n_samples=int(sizes.sum()), unit=unit)


def jackknife(value: float, without: Float[Tensor, " group"], *, unit: str = "document") -> Estimate:
    """Return a value with its 95 % t interval from the values that remain when each group is left out in turn.

    Holds for what is no mean, such as a value over pairs of things or after a fit (Quenouille 1956, Tukey 1958). Fewer
    than 8 groups have no interval. For a difference give the differences, both without the same group.
    """
    if why := too_few(len(without), FEWEST_SAMPLES, f"{unit}s"):
        return Estimate(value, note=why)
    return with_error(value, jackknife_error(without), len(without) - 1.0)


def jackknife_over_seeds(
    values: Float[Tensor, " seed"], without: Float[Tensor, "seed group"], *, unit: str = "document"
) -> Estimate:
    """Return the mean over seeds of what `jackknife` takes, with a 95 % interval that contains how seeds vary too.

    Groups whose absence changes nothing say nothing of how groups vary: they are no samples.
    """
    values, without = values.double().cpu(), without.double().cpu()
    changes = (without - values[:, None]).abs().amax(dim=0) > ROUNDING * values.abs().max()
    over_groups = jackknife(float(values.mean()), without[:, changes].mean(dim=0), unit=unit)
    if over_groups.error is None or over_groups.freedom is None or len(values) < 2:
        return over_groups
    seeds = _Part.of_seeds(values)
    freedom = satterthwaite([(over_groups.error**2, over_groups.freedom), (seeds.variance, seeds.freedom)])
    return with_error(over_groups.value, sqrt(over_groups.error**2 + seeds.variance), freedom)


def jackknife_error(without: Float[Tensor, " group"]) -> float:
    """Return the standard error of a value, from what it is without each group in turn."""
    return sqrt(float(without.double().var(correction=0)) * (len(without) - 1))


@dataclass(frozen=True)
class _Part:
    """What one source of chance adds to the moments of an estimate's error."""

    variance: float
    freedom: float
    third: float = 0.0

    @classmethod
    def of_groups(cls, sums: Tensor, sizes: Tensor) -> "_Part":
        share = sizes / sizes.sum()
        left_out = (sums / sizes.sum() - share * sums.sum() / sizes.sum()) / (1 - share)
        return cls(float(left_out.square().sum()), clustered_freedom(sizes), float((left_out**3).sum()))

    @classmethod
    def of_seeds(cls, means: Tensor) -> "_Part":
        return cls(float(means.var()) / len(means), len(means) - 1.0)


def _ratio(
    sums: Tensor, sizes: Tensor, seeds: _Part | None, *, n_samples: int, unit: str, level: float = LEVEL
) -> Estimate:
    if len(sums) == 0:
        return Estimate(nan)
    value = (sums.sum() / sizes.sum()).item()
    if why := too_few(len(sums), n_samples, f"{unit}s"):
        return Estimate(value, note=why)
    parts = [_Part.of_groups(sums, sizes), *([seeds] if seeds else [])]
    varying = [part for part in parts if sqrt(part.variance) > ROUNDING * abs(value)]
    if not varying:
        return Estimate(value, note=f"no two {unit}s differ: an interval needs some that do")
    variance = sum(part.variance for part in varying)
    freedom = satterthwaite([(part.variance, part.freedom) for part in varying])
    skew = sum(part.third for part in varying) / variance**1.5
    return with_error(value, sqrt(variance), freedom, level=level, skew=skew)


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


def sums_by_group(
    values: Float[Tensor, " sample"], groups: Int[Tensor, " sample"] | None
) -> tuple[Float[Tensor, " group"], Float[Tensor, " group"]]:
    """Return the sum of each group's values and how many they are; without groups each sample is one."""
    if groups is None:
        return values, torch.ones_like(values)
    names, place = groups.cpu().unique(return_inverse=True)
    zeros = values.new_zeros(len(names))
    return zeros.index_add(0, place, values), zeros.index_add(0, place, torch.ones_like(values))
