"""The options of harvesting in settings: texts, types, and numbers that must fit each other. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal

EMBEDDED, EMBEDDED_NULL = "organism", "organism-control"
"""Names of the embedded pair and of its null pair; the first is also that of their text."""
EMBEDDED_THINKING = "organism-thinking"
"""Name of the part of the embedded pair's text that thinks aloud."""
PAPER_MIX = "reasoning+general"
"""Name of the paper's mix of two hub datasets."""
CacheType = Literal["fp32", "bf16", "int8"]
"""Types in which activations are stored."""
Part = Literal["both", "reasoning", "answer"]
"""The part of a reply that is kept: all of it, the part up to the mark that ends its reasoning, or the part after."""


AHEAD = 2
"""Chunks of activations that are read before they are asked for."""


@dataclass(frozen=True, kw_only=True)
class Shuffling:
    """How activations are shuffled and drawn; the numbers are totals over all shards."""

    shards: int
    buffer_tokens: int
    batch_tokens: int
    dtype: Literal["fp32", "bf16"]
    """Type of the activations in the buffer."""
    seed: int

    def __post_init__(self) -> None:
        if self.buffer_tokens < self.batch_tokens:
            raise ValueError(
                f"--buffer-tokens {self.buffer_tokens} is less than one batch of {self.batch_tokens}: raise it"
            )
        if self.batch_tokens % self.shards:
            raise ValueError(
                f"--batch-tokens {self.batch_tokens} does not divide by {self.shards} shards: make it a multiple of"
                " --shards (by default the number of processes), or give --shards"
            )

    @property
    def share(self) -> int:
        """Number of tokens that a batch takes from each shard."""
        return self.batch_tokens // self.shards


def check_row_length(row_length: int, batch_tokens: int) -> None:
    """Raise `ValueError` for rows too short to hold a token that counts, and for rows longer than a batch."""
    if row_length < 2:
        raise ValueError(f"--row-length {row_length}: position 0 is masked, so a row needs at least 2 tokens")
    if batch_tokens < row_length:
        raise ValueError(f"--forward-tokens {batch_tokens} is less than --row-length {row_length}: raise the first")
