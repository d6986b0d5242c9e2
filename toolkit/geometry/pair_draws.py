"""The chance in a comparison of word pairs: who is compared with whom, shuffled partners, resampled pairs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.statistics import random_cycle, resample_counts

MOST_QUADRUPLES = 2_000_000


@dataclass(frozen=True, kw_only=True)
class PairDraws:
    """One draw of everything random, so that models and dimensions can be compared on the same draw."""

    blocks: Int[Tensor, "block pair_in_block"]
    """Pairs of one block are compared with each other. There is one block, of all pairs, unless that makes more
    than `MOST_QUADRUPLES` pairs of pairs; then random blocks of one size, which leave over less than a block."""
    partners: Int[Tensor, "shuffle pair"]
    """The pair whose second word each first word gets in a shuffle: never its own."""
    weights: Float[Tensor, "resample pair"]
    """How often each resample, with replacement, holds each pair."""

    @classmethod
    def draw(
        cls, n_pairs: int, generator: torch.Generator, *, shuffles: int = 100, resamples: int = 500
    ) -> "PairDraws":
        """Draw for `n_pairs` pairs; the generator is on the CPU.

        Raises ValueError for fewer than four pairs: two shuffled ones take their words from four.
        """
        if n_pairs < 4:
            raise ValueError(f"{n_pairs} word pairs have no shuffled ones to compare with: give at least four")
        return cls(
            blocks=_blocks(n_pairs, generator),
            partners=torch.stack([random_cycle(n_pairs, generator) for _ in range(shuffles)]),
            weights=resample_counts(n_pairs, resamples, generator),
        )


def _blocks(n_pairs: int, generator: torch.Generator) -> Tensor:
    n_blocks = -(-n_pairs * (n_pairs - 1) // (2 * MOST_QUADRUPLES))
    size = n_pairs // n_blocks
    order = torch.randperm(n_pairs, generator=generator) if n_blocks > 1 else torch.arange(n_pairs)
    return order[: n_blocks * size].view(n_blocks, size)
