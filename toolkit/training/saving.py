"""Checkpoints that a thread writes from a copy of a run's state, while the run goes on."""

import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from types import TracebackType

import torch
from torch import Tensor

from toolkit.artifacts import DiskFullError
from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.harvest.feed import ShardState
from toolkit.tracking import Stopwatch
from toolkit.training.checkpoints import Checkpoint, Checkpoints

NEVER = -1


class Saver:
    """Saves the state of a run: `save` copies it, and a thread writes the copy; one is written at a time.

    The copies' memory is kept from one checkpoint to the next, until the block of the saver, as a context manager, ends
    with the last checkpoint written. Of several `ranks` none copies anything: `save` returns
    when all have written, because a checkpoint takes exchanges between them, and those of two threads would mix.
    `has_rows` is as in `Checkpoints.save`.

    Whatever ends the writing is raised by the next `check`, `save`, `wait` or end of the block: a `DiskFullError`,
    which says what is safe, or another error with a note that does. The run can then save again.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        stopwatch: Stopwatch,
        ranks: Ranks = ALONE,
        has_rows: Callable[[str], bool] | None = None,
    ) -> None:
        self._checkpoints, self._stopwatch = checkpoints, stopwatch
        self._ranks, self._has_rows = ranks, has_rows
        self._copies = Copies()
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self._writing = Stopwatch()
        self.step = NEVER
        """The step of the last checkpoint that is written, or being written."""

    @property
    def seconds(self) -> float:
        """Seconds that the thread has written, while the run went on or waited for it."""
        return self._writing.seconds["writing"]

    def save(self, checkpoint: Checkpoint) -> None:
        """Wait until the last checkpoint is written, and begin to write this one, whose tensors may then change.

        The time that the run is held up is the stage "checkpoints" of its stopwatch.
        """
        with self._stopwatch.stage("checkpoints"):
            self._finish()
            if self._ranks.size > 1:
                self._checkpoints.save(checkpoint, self._ranks, self._has_rows)
            else:
                self._begin(self._copies.of(checkpoint))
            self.step = checkpoint.step

    def check(self) -> None:
        """Raise what has ended the writing, if something did; waits for nothing."""
        if self._thread is not None and not self._thread.is_alive():
            self._finish()

    def wait(self) -> None:
        """Return when the last checkpoint is written."""
        with self._stopwatch.stage("checkpoints"):
            self._finish()

    def _begin(self, copy: Checkpoint) -> None:
        self._thread = threading.Thread(target=self._write, args=(copy,), name="checkpoints", daemon=True)
        self._thread.start()

    def _write(self, copy: Checkpoint) -> None:
        try:
            with self._writing.stage("writing"):
                self._checkpoints.save(copy)
        except Exception as error:  # raised by `_finish`
            self._failure = error

    def _finish(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            self.step = NEVER
            raise failure if isinstance(failure, DiskFullError) else self._checkpoints.noted(failure)

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            return  # a second Ctrl-C ends the run at once
        step = self.step
        try:
            self.wait()
        except Exception as failure:
            if error is None or isinstance(error, GeneratorExit):
                raise
            error.add_note(f"the checkpoint of step {step} was not written: {failure}")
        finally:
            self._copies = Copies()


class Copies:
    """Copies of checkpoints, each in the memory of the one before; what comes from a GPU lies in pinned memory.

    torch rounds a piece of pinned memory up to a power of two: the copies then take up to twice their bytes.
    """

    def __init__(self) -> None:
        self._memory: dict[str, Tensor] = {}

    def of(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint on the CPU that shares nothing with the given one."""
        tensors = {name: self._copy(name, tensor) for name, tensor in checkpoint.tensors.items()}
        shards = {
            shard: ShardState(
                {name: self._copy(f"{name} of shard {shard}", tensor) for name, tensor in held.tensors.items()},
                deepcopy(held.state),
            )
            for shard, held in checkpoint.shards.items()
        }
        given = [
            *checkpoint.tensors.values(),
            *(each for held in checkpoint.shards.values() for each in held.tensors.values()),
        ]
        for device in {tensor.device for tensor in given if tensor.is_cuda}:
            torch.cuda.current_stream(device).synchronize()
        return replace(checkpoint, tensors=tensors, state=deepcopy(checkpoint.state), shards=shards)

    def _copy(self, name: str, tensor: Tensor) -> Tensor:
        memory = self._memory.get(name)
        if memory is None or len(memory) < tensor.nbytes:
            memory = torch.empty(tensor.nbytes, dtype=torch.uint8, pin_memory=tensor.is_cuda)
            self._memory[name] = memory
        copy = memory[: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        return copy.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
