"""Means, shares and ratios with their intervals, and random partners for comparisons with chance."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import torch
from jaxtyping import Float, Int
from torch import Tensor

DRAWN_TOGETHER = 2**20
RESAMPLES = 1000
INTERVAL = torch.tensor([0.025, 0.975], dtype=torch.float64)
Z = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval, if it has one: at 95 %, unless its table names another level."""

    value: float
    low: float | None = None
    high: float | None = None


def interval(values: Float[Tensor, " value"]) -> tuple[float, float]:
    """Return the ends of the central 95 % of the values; NaN is left out."""
    low, high = values.double().nanquantile(INTERVAL.to(values.device)).tolist()
    return low, high


def around(values: Float[Tensor, " value"], half_widths: Float[Tensor, " value"]) -> list[Estimate]:
    """Return each value with the interval from value − half width to value + half width."""
    ends = torch.stack([values, values - half_widths, values + half_widths], dim=1)
    return [Estimate(*row) for row in ends.tolist()]


def mean(values: Float[Tensor, " sample"], groups: Int[Tensor, " sample"] | None = None) -> Estimate:
    """Return the `bootstrap_mean` of the values that are not NaN, with a fixed seed; NaN where there are none."""
    known = ~values.isnan()
    if not known.any():
        return Estimate(float("nan"))
    generator = torch.Generator().manual_seed(0)
    return bootstrap_mean(values[known], generator, groups=None if groups is None else groups[known])


def bootstrap_mean(
    values: Float[Tensor, " sample"],
    generator: torch.Generator,
    *,
    groups: Int[Tensor, " sample"] | None = None,
) -> Estimate:
    """Return the mean with its 95 % bootstrap interval: percentiles of resampled means.

    Samples of one group, such as positions of one document, are alike, so they are drawn together. For paired samples
    pass their differences. One sample or group alone has no interval: its bounds are NaN.
    Raises `ValueError` where `values` is empty.
    """
    if len(values) == 0:
        raise ValueError("no values to take a mean of: give at least one, two for an interval")
    sums, sizes = _by_group(values.double().cpu(), groups)
    value = (sums.sum() / sizes.sum()).item()
    if len(sums) == 1:
        return Estimate(value, float("nan"), float("nan"))
    return Estimate(value, *interval(_resampled_means(sums, sizes, generator)))


def resample_counts(n: int, resamples: int, generator: torch.Generator) -> Float[Tensor, "resample n"]:
    """Return how often each resample, n draws with replacement from n things, holds each thing; on the CPU."""
    draws = torch.randint(n, (resamples, n), generator=generator)
    return torch.zeros(resamples, n).scatter_add_(1, draws, torch.ones(1, 1).expand(resamples, n))


def random_cycle(n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """Return for each of n things the index of another one, from a random cycle through all of them; on the CPU.

    Every other thing is equally likely. Where n is 1, the thing is its own partner.
    """
    order = torch.randperm(n, generator=generator)
    return torch.empty_like(order).scatter_(0, order, order.roll(1))


def wilson(successes: int, n: int) -> Estimate:
    """Return a share with its 95 % Wilson score interval, which holds for few trials and for 0 of n.

    Raises `ValueError` for no trials, or for more successes than trials. Source: Wilson 1927.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is no share: give at least one trial, and no more successes than trials")
    share = successes / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Estimate(share, max(0.0, middle - reach), min(1.0, middle + reach))


def ratio_of_sums(
    sums: Float[Tensor, "document *quantity"], sizes: Float[Tensor, " document"], level: float = 0.95
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
    return ratio, NormalDist().inv_cdf((1 + level) / 2) * deviations.sqrt() / sizes.sum()


def _by_group(values: Tensor, groups: Tensor | None) -> tuple[Tensor, Tensor]:
    if groups is None:
        return values, torch.ones_like(values)
    names, place = groups.cpu().unique(return_inverse=True)
    zeros = values.new_zeros(len(names))
    return zeros.index_add(0, place, values), zeros.index_add(0, place, torch.ones_like(values))


def _resampled_means(sums: Tensor, sizes: Tensor, generator: torch.Generator) -> Tensor:
    """Return the mean of each resample, [1,000]; they are computed in blocks, which bounds the memory."""
    together = max(1, DRAWN_TOGETHER // len(sums))
    parts = [min(together, RESAMPLES - done) for done in range(0, RESAMPLES, together)]
    counts = (resample_counts(len(sums), part, generator).double() for part in parts)
    return torch.cat([(held @ sums) / (held @ sizes) for held in counts])
