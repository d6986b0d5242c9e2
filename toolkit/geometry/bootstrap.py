"""Bootstrap intervals: what a mean could have been with another draw of the same kind."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

DRAWN_TOGETHER = 2**20
INTERVAL = torch.tensor([0.025, 0.975], dtype=torch.float64)


def bootstrap_mean(
    values: Float[Tensor, " sample"],
    generator: torch.Generator,
    *,
    groups: Int[Tensor, " sample"] | None = None,
    resamples: int = 1000,
) -> tuple[float, float, float]:
    """Return the mean and the bounds of its 95 % bootstrap interval (percentiles of resampled means).

    Samples of one group, such as positions of one document, are alike: they are drawn together. The difference of
    paired samples is the mean of their differences. One sample or group alone has no interval: its bounds are NaN.
    Raises ValueError for no values.
    """
    if len(values) == 0:
        raise ValueError("no values to take a mean of: give at least one, two for an interval")
    sums, sizes = _by_group(values.double().cpu(), groups)
    mean = (sums.sum() / sizes.sum()).item()
    if len(sums) == 1:
        return mean, float("nan"), float("nan")
    return mean, *interval(_resampled_means(sums, sizes, generator, resamples))


def resample_counts(n: int, resamples: int, generator: torch.Generator) -> Float[Tensor, "resample n"]:
    """How often each resample of n things, n draws with replacement, holds each of them; on the CPU."""
    draws = torch.randint(n, (resamples, n), generator=generator)
    return torch.zeros(resamples, n).scatter_add_(1, draws, torch.ones(1, 1).expand(resamples, n))


def interval(values: Float[Tensor, " value"]) -> tuple[float, float]:
    """Ends of the central 95 % of the values; NaN is left out."""
    low, high = values.double().nanquantile(INTERVAL.to(values.device)).tolist()
    return low, high


def _by_group(values: Tensor, groups: Tensor | None) -> tuple[Tensor, Tensor]:
    if groups is None:
        return values, torch.ones_like(values)
    names, place = groups.cpu().unique(return_inverse=True)
    zeros = values.new_zeros(len(names))
    return zeros.index_add(0, place, values), zeros.index_add(0, place, torch.ones_like(values))


def _resampled_means(sums: Tensor, sizes: Tensor, generator: torch.Generator, resamples: int) -> Tensor:
    """One mean a resample, [resamples], as many at once as fit into little memory."""
    together = max(1, DRAWN_TOGETHER // len(sums))
    parts = [min(together, resamples - done) for done in range(0, resamples, together)]
    counts = (resample_counts(len(sums), part, generator).double() for part in parts)
    return torch.cat([(held @ sums) / (held @ sizes) for held in counts])
