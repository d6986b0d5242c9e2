"""Bootstrap intervals: what a mean, or the difference of two, could have been with another draw of the same kind."""

import torch
from jaxtyping import Float
from torch import Tensor

DRAWN_TOGETHER = 2**20
INTERVAL = torch.tensor([0.025, 0.975], dtype=torch.float64)


def bootstrap_mean(
    values: Float[Tensor, " sample"], generator: torch.Generator, resamples: int = 1000
) -> tuple[float, float, float]:
    """Return the mean and the bounds of its 95 % bootstrap interval (percentiles of resampled means).

    Raises ValueError for no values.
    """
    values = _filled(values)
    low, high = _resampled_means(values, generator, resamples).quantile(INTERVAL).tolist()
    return values.mean().item(), low, high


def bootstrap_difference(
    first: Float[Tensor, " sample"],
    second: Float[Tensor, " other_sample"],
    generator: torch.Generator,
    resamples: int = 1000,
) -> tuple[float, float, float]:
    """Return mean(first) − mean(second) of two independent samples, with its 95 % bootstrap interval.

    For paired samples take `bootstrap_mean` of their differences. Raises ValueError for an empty sample.
    """
    first, second = _filled(first), _filled(second)
    differences = _resampled_means(first, generator, resamples) - _resampled_means(second, generator, resamples)
    low, high = differences.quantile(INTERVAL).tolist()
    return (first.mean() - second.mean()).item(), low, high


def _filled(values: Tensor) -> Tensor:
    if len(values) == 0:
        raise ValueError("no values to take a mean of: an interval needs at least one")
    return values.double().cpu()


def _resampled_means(values: Tensor, generator: torch.Generator, resamples: int) -> Tensor:
    """One mean a resample, [resamples], as many at once as fit into little memory."""
    together = max(1, DRAWN_TOGETHER // len(values))
    sizes = [min(together, resamples - done) for done in range(0, resamples, together)]
    draws = (torch.randint(len(values), (size, len(values)), generator=generator) for size in sizes)
    return torch.cat([values[draw].mean(dim=1) for draw in draws])
