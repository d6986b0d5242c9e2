"""Keeps one model in memory at a time: its weights are read when it is used, and the other model's are dropped."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from threading import Event

from accelerate.utils.memory import clear_device_cache
from nnsight.modeling.transformers import TransformersModel
from torch import Tensor

from toolkit.models.places.place import Context, Place, Reader, Rows
from toolkit.tracking import track

BLOCK_TOKENS = 131_072
"""Tokens that one model reads before the other model's weights take the place of its own."""


class Room:
    """Memory for the weights of one model, which several models share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: object = None
        self._model: TransformersModel | None = None

    def holds(self, owner: object) -> bool:
        """Whether the room holds the weights of `owner`."""
        return self._owner is owner

    def model_of(self, owner: object, load: Callable[[], TransformersModel]) -> TransformersModel:
        """The model of `owner`, read with `load` if the room holds another's."""
        with self._lock:
            if self._owner is not owner or self._model is None:
                self._owner = self._model = None
                clear_device_cache(garbage_collection=True)  # nnsight's modules refer to each other in circles
                self._model, self._owner = load(), owner
            return self._model

    def clear(self) -> None:
        """Drop the weights that the room holds."""
        with self._lock:
            self._owner = self._model = None
            clear_device_cache(garbage_collection=True)


class OneAtATime(Place):
    """The place of a model whose weights are in this process only while no other model that shares the `room` is used.

    A trace keeps its weights until it ends, even if another thread uses another model meanwhile.
    """

    def __init__(self, load: Callable[..., TransformersModel], room: Room) -> None:
        """`load` shows progress, unless it gets `shown=False`."""
        self._load, self._room = partial(load, shown=False), room
        super().__init__(room.model_of(self, load)._module.device)

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        """Whether the weights are in the room now."""
        return self._room.holds(self)

    @property
    def model(self) -> TransformersModel:
        """The model behind nnsight, its weights in memory."""
        return self._room.model_of(self, self._load)

    def read_each(
        self,
        readers: Mapping[Place, Reader],
        batches: Iterable[tuple[Context, Rows]],
        stop: Event | None = None,
    ) -> Iterator[tuple[Context, list[Tensor]]]:
        """Read blocks of `BLOCK_TOKENS` tokens, each with one model after the other; a block's readings are held."""
        for block in blocks(batches, BLOCK_TOKENS):
            *early, last = sorted(readers, key=lambda place: not place.in_memory)  # saves a reading of weights
            held = {
                place: deque(readers[place](rows) for _, rows in track(block, "batches with one model", "batches"))
                for place in early
            }
            for context, rows in block:
                found = {place: queue.popleft() for place, queue in held.items()} | {last: readers[last](rows)}
                yield context, [found[place] for place in readers]

    def free(self) -> None:
        """Empty the room."""
        self._room.clear()

    def __repr__(self) -> str:
        return f"on {self.device}, one model in memory at a time"


def blocks(batches: Iterable[tuple[Context, Rows]], tokens: int) -> Iterator[list[tuple[Context, Rows]]]:
    """Yield lists of batches in which at least `tokens` tokens are selected; the last list may have fewer."""
    block: list[tuple[Context, Rows]] = []
    chosen = 0
    for context, rows in batches:
        block.append((context, rows))
        chosen += int(rows[2].sum())
        if chosen >= tokens:
            yield block
            block, chosen = [], 0
    if block:
        yield block
