"""Models whose layers are split over processes: the first runs the program, the others do with their parts as it does.

transformers splits the layers, and nnsight shows streams whole.
"""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from accelerate.utils.memory import clear_device_cache
from nnsight.modeling.transformers import TransformersModel
from torch import distributed

from toolkit.models.placement import own_device
from toolkit.models.tracing import TracedModel

PATIENCE = timedelta(days=30)  # with which the others wait for something to do
TURN = threading.Lock()
"""Held while the processes do one thing together: all must do all things in the same order."""


class Order(NamedTuple):
    """What the others are to do: call a method of the model of that number."""

    number: int
    method: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


class _Group:
    """The processes that torchrun started, and how the first speaks to the others."""

    def __init__(self) -> None:
        self.device = own_device()
        backend = "gloo" if self.device == "cpu" else "cpu:gloo,cuda:nccl"
        distributed.init_process_group(backend)
        self.rank = distributed.get_rank()
        self._speech = distributed.new_group(backend="gloo", timeout=PATIENCE)
        self.opened = 0

    def tell(self, order: Order | None) -> None:
        buffer = io.BytesIO()
        torch.save(order, buffer)
        distributed.broadcast_object_list([buffer.getvalue()], group=self._speech)

    def hear(self) -> Order | None:
        heard: list[Any] = [None]
        distributed.broadcast_object_list(heard, group=self._speech)
        order: Order | None = torch.load(io.BytesIO(heard[0]), map_location=self.device, weights_only=False)
        return order


_group: _Group | None = None


@contextmanager
def leading() -> Iterator[None]:
    """Run the block in the first of the processes that torchrun started, which alone goes on after it.

    In it models can be opened as `SplitModel`. The others do their part of that, and end when the block does.
    Raises `ValueError` where there are no others.
    """
    global _group
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        raise ValueError(
            "tensor_parallel splits layers over several processes, and this is one: start them with"
            " `torchrun --nproc-per-node 2 recipes/...`, one for each GPU"
        )
    _group = _Group()
    if _group.rank:
        _follow(_group)
        distributed.destroy_process_group()
        sys.exit(0)
    try:
        yield
    finally:
        with TURN:
            _group.tell(None)
        _group = None
        distributed.destroy_process_group()


def _follow(group: _Group) -> None:
    """Do what the first process says until it ends. A signal to all of them is for it to act on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    models: dict[int, TracedModel] = {}
    while (order := group.hear()) is not None:
        try:
            if order.method == "open":
                load, n_layers = order.arguments
                models[order.number] = TracedModel(load(shown=False), n_layers=n_layers)
            elif order.method == "leave":
                del models[order.number]
                clear_device_cache(garbage_collection=True)
            else:
                getattr(models[order.number], order.method)(*order.arguments, **order.keywords)
        except ValueError:  # the first process has the same one, and says it
            continue


def _together(method: str) -> Any:
    """A method of a model that all processes call."""

    def call(self: "SplitModel", *arguments: Any, **keywords: Any) -> Any:
        return self._do(Order(self._number, method, arguments, keywords))

    return call


class SplitModel(TracedModel):
    """A model whose layers are split over the processes of `leading`."""

    def __init__(self, load: Callable[..., TransformersModel], *, n_layers: int | None = None) -> None:
        """All processes call `load` at once; this one shows progress. `n_layers` is as in `TracedModel`.

        Raises `ValueError` outside of `leading`, and as `load` does.
        """
        if _group is None:
            raise ValueError("tensor_parallel: open models inside `with tensor_parallel.leading():`")
        self._group, self._number = _group, _group.opened
        _group.opened += 1
        with TURN:
            _group.tell(Order(self._number, "open", (load, n_layers), {}))
            super().__init__(load(), n_layers=n_layers)

    @property
    def keeps_caches(self) -> bool:
        """Never: a cache of keys and values is split too, and only this process could be given its part."""
        return False

    def leave(self) -> None:
        """Free the memory of its weights in all processes; it cannot run any more."""
        with TURN:
            self._group.tell(Order(self._number, "leave", (), {}))
        self.model._module.to_empty(device="meta")
        clear_device_cache(garbage_collection=True)

    def _do(self, order: Order) -> Any:
        with TURN:
            self._group.tell(order)
            return getattr(TracedModel, order.method)(self, *order.arguments, **order.keywords)

    residual, selected, run = _together("residual"), _together("selected"), _together("run")
