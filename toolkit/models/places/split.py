"""Models whose layers are split over processes: the first process runs the program, the others compute their parts.

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

from toolkit.models.places.here import Here
from toolkit.models.places.ndif.expected_answers import Form
from toolkit.models.places.place import Place
from toolkit.models.places.processes import is_first_to_fail, n_processes, own_device

PATIENCE = timedelta(days=30)  # how long the other processes wait for a task

Load = Callable[..., TransformersModel]


class _Task(NamedTuple):
    """A task of the other processes: open the model of that number with a function, or run the function on it."""

    number: int
    opens: bool
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


class _Group:
    """The processes that torchrun started, and the messages from the first to the others."""

    def __init__(self) -> None:
        distributed.init_process_group("gloo" if own_device() == "cpu" else "cpu:gloo,cuda:nccl")
        self.rank = distributed.get_rank()
        self.opened = 0
        self.dropped: deque[int] = deque()
        """Models that the first process has freed since its last message."""
        self.broken = False
        """Whether the others still wait inside a task that failed in this process."""
        self._speech = distributed.new_group(backend="gloo", timeout=PATIENCE)
        self._turn = threading.Lock()

    @contextmanager
    def together(self, task: _Task) -> Iterator[None]:
        """Run in the block what the task makes the others run; one task at a time."""
        with self._turn:
            try:
                self.tell(task)
                yield
            except ValueError:  # every process raises it
                raise
            except BaseException as error:
                self.broken = True
                if isinstance(error, Exception) and should_reduce_batch_size(error):
                    raise ValueError(
                        "out of memory, and a pass over split layers cannot be halved: lower --forward-tokens, or"
                        f" start more processes ({error})"
                    ) from error
                raise

    def tell(self, task: _Task | None) -> None:
        """Send the others a task, or None, at which they end."""
        if self.broken:
            raise RuntimeError("the other processes wait in the middle of a pass over split layers that has failed")
        dropped = [self.dropped.popleft() for _ in range(len(self.dropped))]
        buffer = io.BytesIO()
        torch.save((task, dropped), buffer, pickle_module=cloudpickle)
        distributed.broadcast_object_list([buffer.getvalue()], group=self._speech)

    def hear(self) -> tuple[_Task | None, list[int]]:
        """Receive the next task, and the numbers of models that are no longer needed."""
        heard: list[Any] = [None]
        distributed.broadcast_object_list(heard, group=self._speech)
        task, dropped = torch.load(io.BytesIO(heard[0]), map_location="cpu", weights_only=False)
        return task, dropped

    def load(self, load: Load) -> TransformersModel:
        """Load a model's part in each process; raises `ValueError` in all of them where one cannot load its part."""
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
    """Whether the other processes compute their parts for this one, inside of `leading`."""
    return _group is not None


@contextmanager
def leading() -> Iterator[None]:
    """Run the block in the first of the processes that torchrun started; only that one continues after the block.

    In the block models can be opened in a `Split` place. The other processes compute their parts, and end with the
    block. Where a process fails, it alone prints why.
    Raises `ValueError` where there is only one process.
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
    """Run the tasks of the first process until it ends. Signals to all processes are left to the first one."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_IGN)
    models: dict[int, Here] = {}
    try:
        while True:
            task, dropped = group.hear()
            if dropped:
                for number in dropped:
                    models.pop(number, None)
                clear_device_cache(garbage_collection=True)
            if task is None:
                break
            with suppress(ValueError):  # the first process has the same error, and prints it
                if task.opens:
                    models[task.number] = Here(group.load(partial(task.function, shown=False)))
                else:
                    models[task.number].run(task.function, *task.arguments, asked=())
    except Exception:
        if is_first_to_fail():
            raise
        sys.exit(1)
    distributed.destroy_process_group()


class Split(Place):
    """The place of a model that is split over the processes of `leading`: each holds a part of every layer."""

    keeps_caches = False  # a cache of keys and values is split too: each process would need its own part of it

    def __init__(self, load: Load) -> None:
        """All processes call `load` at once; this one shows progress.

        Raises `ValueError` outside of `leading`, and as `load` does.
        """
        if _group is None:
            raise ValueError(
                "tensor_parallel: open models inside `with leading():`, which toolkit.models.places.split has"
            )
        self._group, self._number = _group, _group.opened
        _group.opened += 1
        with _group.together(_Task(self._number, True, load)):
            self._part = Here(_group.load(load))
        super().__init__(self._part.device)
        self._drop = weakref.finalize(self, _group.dropped.append, self._number)

    @property
    def model(self) -> TransformersModel:
        """This process's part: a trace of it would wait for the others forever."""
        return self._part.model

    def run(self, function: Callable[..., Any], *arguments: Any, asked: Form) -> Any:
        """Call one of `server_side`'s functions in all processes, each with its part of the model."""
        with self._group.together(_Task(self._number, False, function, arguments)):
            return self._part.run(function, *arguments, asked=asked)

    def free(self) -> None:
        """Free the memory of the weights, in the other processes with the next task; the model cannot run any more."""
        self._drop()
        self._part.free()

    def __repr__(self) -> str:
        return f"split over {n_processes()} processes"
