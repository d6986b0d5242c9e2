"""Another one for everyone: what something is compared with where chance alone should speak."""

import torch
from jaxtyping import Int
from torch import Tensor


def random_cycle(n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """For each of n things the place of another one, by a random cycle through all of them; on the CPU.

    Every other one is as likely. Alone, a thing has itself.
    """
    order = torch.randperm(n, generator=generator)
    return torch.empty_like(order).scatter_(0, order, order.roll(1))
