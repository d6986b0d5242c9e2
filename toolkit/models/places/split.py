"""Models whose layers are split over processes: the first runs the program, the others do with their parts as it does.

transformers splits the layers, and nnsight shows streams whole.
"""

import io
import signal
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import cloudpickle
import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from nnsight.modeling.transformers import TransformersModel
from torch import distributed

from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.processes import is_first_to_fail, n_processes, own_device

PATIENCE = timedelta(days=30)  # with which the others wait for something to do

Load = Callable[..., TransformersModel]


class _Order(NamedTuple):
    """What the others are to do: open the model of that number, or call a method of it."""

    number: int
    method: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


class _Group:
    """The processes that torchrun started, and how the first speaks to the others."""

    def __init__(self) -> None:
        distributed.init_process_group("gloo" if own_device() == "cpu" else "cpu:gloo,cuda:nccl")
        self.rank = distributed.get_rank()
        self.opened = 0
        self.dropped: deque[int] = deque()
        """Models that the first process has let go since it last spoke."""
        self.broken = False
        """Whether the others wait in the middle of what has failed here."""
        self._speech = distributed.new_group(backend="gloo", timeout=PATIENCE)
        self._turn = threading.Lock()

    @contextmanager
    def together(self, order: _Order) -> Iterator[None]:
        """Do in the block what the others are told to do, one such thing at a time."""
        with self._turn:
            try:
                self.tell(order)
                yield
            except ValueError:  # of all processes alike
                raise
            except BaseException as error:
                self.broken = True
                if isinstance(error, Exception) and should_reduce_batch_size(error):
                    raise ValueError(
                        "out of memory, and a pass over split layers cannot be halved: lower --forward-tokens, or"
                        f" start more processes ({error})"
                    ) from error
                raise

    def tell(self, order: _Order | None) -> None:
        """Give the others an order, or leave to end."""
        if self.broken:
            raise RuntimeError("the other processes wait in the middle of a pass over split layers that has failed")
        dropped = [self.dropped.popleft() for _ in range(len(self.dropped))]
        buffer = io.BytesIO()
        torch.save((order, dropped), buffer, pickle_module=cloudpickle)
        distributed.broadcast_object_list([buffer.getvalue()], group=self._speech)

    def hear(self) -> tuple[_Order | None, list[int]]:
        """The next order, and the numbers of models that are not needed any more."""
        heard: list[Any] = [None]
        distributed.broadcast_object_list(heard, group=self._speech)
        order, dropped = torch.load(io.BytesIO(heard[0]), map_location="cpu", weights_only=False)
        return order, dropped

    def load(self, load: Load) -> TransformersModel:
        """Load a model's part in each process; raises `ValueError` in all where one cannot."""
        failure, model = None, None
        try:
            model = load()
        except ValueError as error:
            failure = error
        said: list[Any] = [None] * n_processes()
        distributed.all_gather_object(said, failure and str(failure), group=self._speech)
        if failure is not None:
            raise failure
        for rank, each in enumerate(said):
            if each is not None:
                raise ValueError(f"process {rank}: {each}")
        assert model is not None
        return model


_group: _Group | None = None


def is_leading() -> bool:
    """Whether the other processes are at this one's service, inside of `leading`."""
    return _group is not None


@contextmanager
def leading() -> Iterator[None]:
    """Run the block in the first of the processes that torchrun started, which alone goes on after it.

    In it models can be opened as `SplitModel`. The others do their part of that, and end when the block does. Where one
    fails, it alone says why.
    Raises `ValueError` where there are no others.
    """
    global _group
    if n_processes() == 1:
        raise ValueError(
            "tensor_parallel splits layers over several processes, and this is one: start them with"
            " `torchrun --nproc-per-node 2 -- recipes/...`, one for each GPU"
        )
    group = _group = _Group()
    if group.rank:
        _follow(group)
        sys.exit(0)
    try:
        yield
    except BaseException:
        if not is_first_to_fail():
            sys.exit(1)
        raise
    finally:
        _group = None
        if not group.broken:
            group.tell(None)
            distributed.destroy_process_group()


def _follow(group: _Group) -> None:
    """Do what the first process says until it ends. A signal to all of them is for it to act on."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_IGN)
    models: dict[int, TracedModel] = {}
    try:
        while True:
            order, dropped = group.hear()
            if dropped:
                for number in dropped:
                    models.pop(number, None)
                clear_device_cache(garbage_collection=True)
            if order is None:
                break
            with suppress(ValueError):  # the first process has the same one, and says it
                _obey(order, group, models)
    except Exception:
        if is_first_to_fail():
            raise
        sys.exit(1)
    distributed.destroy_process_group()


def _obey(order: _Order, group: _Group, models: dict[int, TracedModel]) -> None:
    if order.method == "open":
        load, n_layers = order.arguments
        models[order.number] = _Part(group.load(partial(load, shown=False)), n_layers=n_layers)
    else:
        getattr(models[order.number], order.method)(*order.arguments, **order.keywords)


class _Part(TracedModel):
    """A process's part of a model whose layers are split."""

    @property
    def keeps_caches(self) -> bool:
        """Never: a cache of keys and values is split too, and each process would need its own part of it."""
        return False


def _together(method: str) -> Any:
    """A method of a model that all processes call."""

    def call(self: "SplitModel", *arguments: Any, **keywords: Any) -> Any:
        with self._group.together(_Order(self._number, method, arguments, keywords)):
            return getattr(_Part, method)(self, *arguments, **keywords)

    return call


class SplitModel(_Part):
    """A model whose layers are split over the processes of `leading`.

    Use it by its methods alone: a trace of `model` itself would run in one process, and wait for the others forever.
    """

    def __init__(self, load: Load, *, n_layers: int | None = None) -> None:
        """All processes call `load` at once; this one shows progress. `n_layers` is as in `TracedModel`.

        Raises `ValueError` outside of `leading`, and as `load` does.
        """
        if _group is None:
            raise ValueError("tensor_parallel: open models inside `with tensor_parallel.leading():`")
        self._group, self._number = _group, _group.opened
        _group.opened += 1
        with _group.together(_Order(self._number, "open", (load, n_layers), {})):
            super().__init__(_group.load(load), n_layers=n_layers)
        self._drop = weakref.finalize(self, _group.dropped.append, self._number)

    def leave(self) -> None:
        """Free the memory of its weights, in the other processes with what comes next; it cannot run any more."""
        self._drop()
        self.model._module.to_empty(device="meta")
        clear_device_cache(garbage_collection=True)

    residual, selected, run = _together("residual"), _together("selected"), _together("run")
