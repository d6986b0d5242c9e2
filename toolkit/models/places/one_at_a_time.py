"""One model in memory at a time: the weights of the one that is used are read, those of the other let go."""

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from accelerate.hooks import remove_hook_from_submodules
from accelerate.utils.memory import clear_device_cache
from jaxtyping import Bool, Int
from nnsight.modeling.transformers import TransformersModel
from torch import Tensor

from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.split import SplitModel

BLOCK_TOKENS = 131_072
"""Tokens that one model reads before the other model's weights take the place of its own."""

Context = TypeVar("Context")
Rows = tuple[Int[Tensor, "row position"], Int[Tensor, "row position"], Bool[Tensor, "row position"]]
"""What to read: ids, their mask, and the positions that are asked for."""


class Seat:
    """Room for the weights of one model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: object = None
        self._model: TransformersModel | None = None

    def holds(self, model: object) -> bool:
        """Whether the weights in memory are this model's."""
        return self._holder is model

    def model_of(self, holder: object, load: Callable[[], TransformersModel]) -> TransformersModel:
        """The model of `holder`, read with `load` if the seat is another's."""
        with self._lock:
            if self._holder is not holder or self._model is None:
                self._holder = self._model = None
                clear_device_cache(garbage_collection=True)  # nnsight's modules refer to each other in circles
                self._model, self._holder = load(), holder
            return self._model

    def clear(self) -> None:
        """Let go what it holds."""
        with self._lock:
            self._holder = self._model = None
            clear_device_cache(garbage_collection=True)


class SeatedModel(TracedModel):
    """A model whose weights are in memory only while it has the seat; using it takes the seat.

    A trace that runs while another thread takes the seat ends as it would have: it keeps its weights until then.
    """

    def __init__(self, load: Callable[..., TransformersModel], seat: Seat, *, n_layers: int | None = None) -> None:
        """`load` shows progress, unless it is told `shown=False`."""
        self._load, self._seat = partial(load, shown=False), seat
        super().__init__(seat.model_of(self, load), n_layers=n_layers)

    @property
    def in_memory(self) -> bool:
        """Whether its weights are in memory now."""
        return self._seat.holds(self)

    def leave(self) -> None:
        """Leave the seat empty."""
        self._seat.clear()

    @property
    def model(self) -> TransformersModel:
        """The model behind nnsight, its weights in memory."""
        return self._seat.model_of(self, self._load)

    @model.setter
    def model(self, model: TransformersModel) -> None:
        assert self._seat.holds(self)


def let_go(model: TracedModel) -> None:
    """Free the memory of a model's weights; it cannot run any more."""
    if isinstance(model, SeatedModel | SplitModel):
        model.leave()
    elif model.connection is None:
        module = model.model._module
        remove_hook_from_submodules(module)
        module.to_empty(device="meta")
        clear_device_cache(garbage_collection=True)


def blocks(batches: Iterable[tuple[Context, Rows]], tokens: int) -> Iterator[list[tuple[Context, Rows]]]:
    """Batches in lists that choose at least `tokens` tokens together, but for the last; with 0 one by one."""
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
