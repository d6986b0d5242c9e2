"""Random draws: resamples with replacement, and random partners for comparisons with chance."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


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
