"""The shuffle buffer: activations arrive in order of text and leave in random order, each exactly once."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.tracking import track

Activations = Float[Tensor, "token stream d_model"]


class ShuffleBuffer:
    """Holds `capacity` activations in memory of fixed size; each batch is a random draw, and its places are filled
    again.

    Only the places of one batch are refilled at a time, so after the first filling the trainer never waits for more
    than a batch. When the source ends, the buffer drains; the last batch may be short.
    """

    def __init__(
        self,
        source: Iterator[Activations],
        *,
        capacity: int,
        batch_tokens: int,
        dtype: torch.dtype,
        generator: torch.Generator,
    ) -> None:
        assert capacity >= batch_tokens
        self._source, self._capacity, self._batch_tokens = source, capacity, batch_tokens
        self._dtype, self._generator = dtype, generator
        self._storage: Tensor | None = None
        self._filled = 0
        self._pending: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Memory that the stored activations take."""
        return 0 if self._storage is None else self._storage.nbytes

    @property
    def held(self) -> int:
        """Activations that can be drawn without reading."""
        return self._filled

    @property
    def drains(self) -> bool:
        """Whether the source ended: `fill` could not fill the buffer."""
        return self._filled < self._capacity

    def __iter__(self) -> Iterator[Activations]:
        while True:
            self.fill()
            if self._storage is None or not self._filled:
                return
            yield self._draw(self._storage)

    def fill(self) -> None:
        """Take from the source what there is room for."""
        missing = self._capacity - self._filled
        for _ in track(self._taken(), "filling the buffer", "tokens", total=missing, size=len):
            pass

    def _taken(self) -> Iterator[Activations]:
        """What is taken from the source, chunk by chunk, until the buffer is full or the source ends."""
        while self._filled < self._capacity:
            if self._pending is None:
                chunk = next(self._source, None)
                if chunk is None:
                    return
                self._pending = chunk
            if self._storage is None:
                self._storage = torch.empty(
                    (self._capacity, *self._pending.shape[1:]), dtype=self._dtype, device=self._pending.device
                )
            taken = self._pending[: self._capacity - self._filled]
            self._storage[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            self._pending = self._pending[len(taken) :] if len(taken) < len(self._pending) else None
            yield taken

    def _draw(self, storage: Tensor) -> Tensor:
        """A batch of random rows; rows from the end move into the places they leave."""
        size = min(self._batch_tokens, self._filled)
        # int32 gives the order that int64 does, and a million places fit the processor's cache
        chosen = torch.randperm(self._filled, generator=self._generator, dtype=torch.int32)[:size].long()
        left = self._filled - size
        stays = torch.ones(size, dtype=torch.bool)
        stays[chosen[chosen >= left] - left] = False
        movers = stays.nonzero().squeeze(1) + left
        holes = chosen[chosen < left]
        batch = storage.index_select(0, chosen.to(storage.device))
        storage.index_copy_(0, holes.to(storage.device), storage.index_select(0, movers.to(storage.device)))
        self._filled = left
        return batch

    def peek(self) -> Activations:
        """What the filled buffer holds, without taking it: the first activations of the source."""
        self.fill()
        return torch.empty(0, 0, 0) if self._storage is None else self._storage[: self._filled]

    def state_dict(self) -> dict[str, Tensor]:
        """What is held, and the state of chance."""
        tensors = {"generator": self._generator.get_state()}
        if self._storage is not None:
            tensors["storage"] = self._storage[: self._filled]
        if self._pending is not None:
            tensors["pending"] = self._pending.clone()
        return tensors

    def load_state_dict(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        """Hold again what was held."""
        self._generator.set_state(tensors["generator"])
        if "storage" in tensors:
            held = tensors["storage"]
            self._filled = len(held)
            self._storage = torch.empty((self._capacity, *held.shape[1:]), dtype=self._dtype, device=device)
            self._storage[: self._filled] = held
        self._pending = tensors["pending"].to(device) if "pending" in tensors else None
