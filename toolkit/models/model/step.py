"""One pass of a generation, as a change of the residual stream sees it, and what was read of its rows before."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor
from transformers import Cache

from toolkit.models.model.row_cache import RowLayer


@runtime_checkable
class Reader(Protocol):
    """A model that reads tokens behind others."""

    def empty_cache(self) -> Cache:
        """Return an empty cache of keys and values."""


class Caches:
    """The keys and values of some rows: of the model that writes, and of all models with which a change reads along.

    As rows leave and join, they do so in all of them, so that no reader has to.
    """

    def __init__(self) -> None:
        self._caches: dict[tuple[object, Reader], Cache] = {}

    def of(self, reader: object, model: Reader) -> Cache:
        """Return the cache that `reader` fills with `model`: empty when rows begin; it has to fill it in each step."""
        if (reader, model) not in self._caches:
            self._caches[reader, model] = model.empty_cache()
        return self._caches[reader, model]

    @property
    def can_join(self) -> bool:
        """Whether rows can join these, and the first positions can be dropped."""
        return all(isinstance(layer, RowLayer) for cache in self._caches.values() for layer in cache.layers)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep these rows, in this order."""
        for cache in self._caches.values():
            for layer in cache.layers:
                if layer.get_seq_length():  # a change may read the first layers only
                    layer.batch_select_indices(rows.to(layer.keys.device))

    def join(self, others: "Caches") -> None:
        """Add the rows of `others` behind these; a shorter text is padded on the left."""
        for key, cache in self._caches.items():
            for layer, joining in zip(cache.layers, others._caches[key].layers, strict=True):
                if joining.get_seq_length():
                    layer.join(joining)

    def drop_first(self, positions: int) -> None:
        """Drop the first positions, which are padding in all rows."""
        for cache in self._caches.values():
            for layer in cache.layers:
                if layer.get_seq_length():
                    layer.drop_first(positions)


@dataclass(frozen=True, eq=False)
class Step:
    """One pass of a generation: the tokens that are read now, of some of the rows.

    A row's first step reads its prompt, together with those of rows that begin with it; each later step reads the token
    written last, of all rows that are not finished.
    """

    input_ids: Int[Tensor, "live position"]
    attention_mask: Int[Tensor, "live past_and_position"]
    rows: Int[Tensor, " live"]
    """Numbers of these rows among all prompts."""
    caches: Caches
    """What was read of these rows before."""
