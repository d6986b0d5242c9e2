"""The exchanges between processes that train one crosscoder together; a single process exchanges nothing.

All ranks must call every exchange, in the same order. Sums are equal on all of them, bit for bit.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor, distributed

LARGE = 65_536  # numbers; smaller tensors travel together


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, numbered; by default this one alone, whose exchanges return what they were given."""

    size: int = 1
    rank: int = 0
    device: str = "cpu"
    """Where single numbers are exchanged: with NCCL, this rank's GPU."""

    @property
    def is_first(self) -> bool:
        """Whether this rank is the one that writes files and prints."""
        return self.rank == 0

    def sum_(self, *tensors: Tensor) -> None:
        """Replace each tensor by its sum over all ranks, in place; small ones travel as one, in float64."""
        if self.size == 1:
            return
        small = [tensor for tensor in tensors if tensor.numel() < LARGE]
        large = [tensor for tensor in tensors if tensor.numel() >= LARGE]
        under_way = [distributed.all_reduce(tensor, async_op=True) for tensor in large]
        if small:
            packed = torch.cat([tensor.detach().flatten().double() for tensor in small])
            distributed.all_reduce(packed)
            for tensor, part in zip(small, packed.split([tensor.numel() for tensor in small]), strict=True):
                tensor.copy_(part.view_as(tensor))
        for work in under_way:
            assert work is not None
            work.wait()

    def gathered(self, values: Shaped[Tensor, "own ..."]) -> Shaped[Tensor, "all ..."]:
        """Return the values of all ranks, one rank after the other; their numbers may differ."""
        if self.size == 1:
            return values
        lengths = self._lengths(values)
        padded = values.new_zeros(max(lengths), *values.shape[1:])
        padded[: len(values)] = values
        parts = [torch.empty_like(padded) for _ in lengths]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    def place_of(self, values: Shaped[Tensor, "own ..."]) -> slice:
        """Return where this rank's values stand among those that `gathered` returns."""
        start = sum(self._lengths(values)[: self.rank])
        return slice(start, start + len(values))

    def _lengths(self, values: Tensor) -> list[int]:
        if self.size == 1:
            return [len(values)]
        own = torch.tensor([len(values)], device=self.device)
        lengths = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(lengths, own)
        return [int(length) for length in lengths]

    def total(self, number: int) -> int:
        """Return the sum of a number over all ranks."""
        return self._reduced(number, distributed.ReduceOp.SUM)

    def highest(self, number: int) -> int:
        """Return the largest number of any rank."""
        return self._reduced(number, distributed.ReduceOp.MAX)

    def lowest(self, number: int) -> int:
        """Return the smallest number of any rank."""
        return self._reduced(number, distributed.ReduceOp.MIN)

    def _reduced(self, number: int, how: distributed.ReduceOp.RedOpType) -> int:
        if self.size == 1:
            return number
        value = torch.tensor(number, device=self.device)
        distributed.all_reduce(value, how)
        return int(value)

    def wait(self) -> None:
        """Wait until all ranks have called this."""
        self.total(0)

    def share_of(self, n: int) -> slice:
        """Return this rank's stretch of `n` things in a row; stretches differ by one at most."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)


ALONE = Ranks()


@dataclass(frozen=True)
class Split:
    """What the ranks share out: a batch's tokens, or the dictionary's latents. The other is whole on each of them."""

    tokens: Ranks = ALONE
    latents: Ranks = ALONE

    def __post_init__(self) -> None:
        assert self.tokens.size == 1 or self.latents.size == 1

    @property
    def ranks(self) -> Ranks:
        """All ranks, whatever they share out."""
        return self.latents if self.latents.size > 1 else self.tokens


WHOLE = Split()
