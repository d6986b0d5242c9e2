"""One model in memory at a time: the weights of the one that is used are read, those of the other are dropped."""

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
        """Whether the weights in it are this one's."""
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
        """Drop what it holds."""
        with self._lock:
            self._owner = self._model = None
            clear_device_cache(garbage_collection=True)


class OneAtATime(Place):
    """In this process, while no other model that shares the `room` is used.

    A trace that runs while another thread uses another model ends as it would have: it keeps its weights until then.
    """

    def __init__(self, load: Callable[..., TransformersModel], room: Room) -> None:
        """`load` shows progress, unless it is told `shown=False`."""
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
        """Read blocks of `BLOCK_TOKENS` tokens by turns: all models but the last hold what they read of a block."""
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
    """Batches in lists that choose at least `tokens` tokens together, but for the last."""
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
