"""A cache of keys and values in which rows leave, join and grow where they are, without a copy of the other rows."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedConfig
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

ROOM = 64


def row_cache(config: PreTrainedConfig) -> Cache:
    """Return an empty cache for a model of this config: of `RowLayer`s, or transformers' own for other kinds of layers.

    It can be used wherever transformers' `DynamicCache` can, and costs less to fill, since that one copies all that was
    read for every token more.
    """
    layers = DynamicCache(config=config).layers
    if not all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
        return DynamicCache(config=config)
    return Cache(layers=[RowLayer(getattr(layer, "sliding_window", None)) for layer in layers])


class RowLayer(CacheLayerMixin):
    """The keys and values of one attention layer, in two tensors [row, head, position, size] with room for more.

    The positions of a row end where those of all rows end; a shorter row begins later, and what stands before it means
    nothing. A layer with a sliding window holds the last `window` - 1 positions.
    """

    is_croppable = True

    def __init__(self, window: int | None = None) -> None:
        self.window, self.is_sliding, self.is_initialized = window, window is not None, False
        self.read = 0
        """Positions that were read, with those that a sliding window has left."""
        self._rows = self._start = self._end = 0
        self._buffers: tuple[Tensor, ...] = ()

    @property
    def keys(self) -> Tensor:
        """The keys that are held, [row, head, position, size]: a view."""
        return self._held(self._buffers[0])

    @property
    def values(self) -> Tensor:
        """The values that are held, [row, head, position, size]: a view."""
        return self._held(self._buffers[1])

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take the rows, heads, sizes and types of these states."""
        self._buffers = tuple(states[..., :0, :] for states in (key_states, value_states))
        self._rows, self.is_initialized = len(key_states), True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add new positions at the end; return all keys and values that these may attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        new = key_states.shape[-2]
        self._make_room(self._rows, after=new)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[: self._rows, ..., self._end : self._end + new, :] = states
        self._end, self.read = self._end + new, self.read + new
        attended = self.keys, self.values
        if self.window is not None:
            self._start = max(self._start, self._end - self.window + 1)
        return attended

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many positions a query of this length may attend to, and how many were dropped before them."""
        held = self._end - self._start
        return held + query_length, self.read - held

    def get_seq_length(self) -> int:
        """Return how many positions were read."""
        return self.read

    def get_max_length(self) -> int:
        """Return the sliding window, or -1 without one."""
        return -1 if self.window is None else self.window

    def crop(self, tokens_to_remove: int) -> None:
        """Take the last positions back; `tokens_to_remove` is below 0. Not for a sliding window that dropped some."""
        assert tokens_to_remove <= 0
        assert self.read == self._end - self._start
        self._end, self.read = self._end + tokens_to_remove, self.read + tokens_to_remove

    def batch_select_indices(self, indices: Int[Tensor, " kept"]) -> None:
        """Keep the rows `indices`, in this order; only rows that change their place are copied."""
        places = torch.arange(len(indices), device=indices.device)
        moved = indices != places
        for buffer in self._buffers:
            held = buffer[..., self._start : self._end, :]
            held[places[moved]] = held[indices[moved]]
        self._rows = len(indices)
        if 2 * self._rows <= len(self._buffers[0]):  # else a long cache is held for rows that are gone
            self._move(self._rows, before=0, after=0)

    def join(self, other: "RowLayer") -> None:
        """Add the rows of another such layer behind these; both end at the same position."""
        rows, new = self._rows + other._rows, other.keys.shape[-2]
        held = max(self._end - self._start, new)
        self._make_room(rows, before=held - (self._end - self._start))
        first = self._end - held
        for buffer, states in zip(self._buffers, (other.keys, other.values), strict=True):
            buffer[: self._rows, ..., first : self._start, :] = 0  # what is masked must be finite
            buffer[self._rows : rows, ..., first : self._end - new, :] = 0
            buffer[self._rows : rows, ..., self._end - new : self._end, :] = states
        self._rows, self._start, self.read = rows, first, max(self.read, other.read)

    def drop_first(self, positions: int) -> None:
        """Drop the first positions that were read, which are padding in all rows."""
        self.read -= positions
        self._start = max(self._start, self._end - self.read)

    def _held(self, buffer: Tensor) -> Tensor:
        return buffer[: self._rows, ..., self._start : self._end, :]

    def _make_room(self, rows: int, before: int = 0, after: int = 0) -> None:
        capacity = self._buffers[0].shape[-2]
        if rows > len(self._buffers[0]) or before > self._start or self._end + after > capacity:
            self._move(rows, before, after)

    def _move(self, rows: int, before: int, after: int) -> None:
        """Copy what is held to new tensors, with room for a quarter more: a token costs four copies of itself."""
        held = self._end - self._start
        positions = before + held + after + max(ROOM, held // 4)
        moved = []
        for buffer in self._buffers:
            larger = buffer.new_zeros(max(rows, self._rows), *buffer.shape[1:-2], positions, buffer.shape[-1])
            larger[: self._rows, ..., before : before + held, :] = self._held(buffer)
            moved.append(larger)
        self._buffers, self._start, self._end = tuple(moved), before, before + held
