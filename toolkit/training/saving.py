"""Checkpoints that a thread writes from a copy of a run's state, while the run goes on."""

import threading
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from types import TracebackType

import torch
from torch import Tensor

from toolkit.artifacts import DiskFullError
from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.harvest.feed import ShardState
from toolkit.library_warnings import ToolkitWarning
from toolkit.tracking import Stopwatch
from toolkit.training.checkpoints import Checkpoint, Checkpoints

NEVER = -1


class Saver:
    """Saves the state of a run: `save` copies it, and a thread writes the copy; one is written at a time.

    The copies' memory is kept from one checkpoint to the next, until the block of the saver, as a context manager, ends
    with the last checkpoint written. Of several `ranks` none copies anything: `save` returns
    when all have written, because a checkpoint takes exchanges between them, and those of two threads would mix; it
    raises what ended the writing at once. `has_rows` is as in `Checkpoints.save`.

    What ends the writing is raised by `wait` or the end of the block: a `DiskFullError`, which says what is safe, or
    another error with a note that does. If `save` is called first, it writes its own checkpoint to the end, and warns
    of the one that was lost, or raises what ended its own writing. The run can save again after any of these.
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
        self._begun = NEVER
        self.step = NEVER
        """The step of the last checkpoint that is written, or being written; `NEVER` once its writing has failed."""

    @property
    def seconds(self) -> float:
        """Seconds that the thread has written, while the run went on or waited for it."""
        return self._writing.seconds["writing"]

    def save(self, checkpoint: Checkpoint) -> None:
        """Wait until the last checkpoint is written, and begin to write this one, whose tensors may then change.

        The time that the run is held up is the stage "checkpoints" of its stopwatch.
        """
        with self._stopwatch.stage("checkpoints"):
            if (failure := self._ended()) is None:
                self._begin(checkpoint)
            else:
                self._save_in_place_of(self._begun, failure, checkpoint)

    @property
    def has_failed(self) -> bool:
        """Whether something has ended the writing of the last checkpoint; waits for nothing."""
        return self._failure is not None

    def settle(self) -> None:
        """Return when the last checkpoint is written, or has failed; `has_failed` says which."""
        with self._stopwatch.stage("checkpoints"):
            self._join()

    def wait(self) -> None:
        """Return when the last checkpoint is written."""
        with self._stopwatch.stage("checkpoints"):
            self._finish()

    def _begin(self, checkpoint: Checkpoint) -> None:
        if self._ranks.size > 1:
            self._checkpoints.save(checkpoint, self._ranks, self._has_rows)
            self.step = checkpoint.step
        else:
            copy = self._copies.of(checkpoint)
            self._begun = self.step = checkpoint.step
            self._thread = threading.Thread(target=self._write, args=(copy,), name="checkpoints", daemon=True)
            self._thread.start()

    def _save_in_place_of(self, lost: int, failure: Exception, checkpoint: Checkpoint) -> None:
        why = failure.__cause__ if isinstance(failure, DiskFullError) else failure  # without what was safe then
        said = f"the checkpoint of step {lost} was not written ({why})"
        try:
            self._begin(checkpoint)
            self._finish()
        except Exception as error:
            error.add_note(f"before that, {said}")
            raise
        now = "a second try wrote it" if checkpoint.step == lost else f"that of step {checkpoint.step} is"
        warnings.warn(f"{said}; {now}", ToolkitWarning, stacklevel=4)

    def _write(self, copy: Checkpoint) -> None:
        try:
            with self._writing.stage("writing"):
                self._checkpoints.save(copy)
        except Exception as error:  # returned by `_ended`
            self.step, self._failure = NEVER, error

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _ended(self) -> Exception | None:
        """Wait for the thread, and return what ended its writing, if something did."""
        self._join()
        failure, self._failure = self._failure, None
        return failure

    def _finish(self) -> None:
        if (failure := self._ended()) is not None:
            raise failure if isinstance(failure, DiskFullError) else self._checkpoints.noted(failure)

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            return  # a second Ctrl-C ends the run at once
        try:
            self.wait()
        except Exception as failure:
            if error is None or isinstance(error, GeneratorExit):
                raise
            note_failure(error, f"the checkpoint of step {self._begun} was not written", failure)
        finally:
            self._copies = Copies()


def note_failure(error: BaseException, said: str, failure: Exception) -> None:
    """Note on an error that saving failed as well, and what is safe, which the failure's own notes say."""
    for note in (f"{said}: {failure}", *getattr(failure, "__notes__", [])):
        error.add_note(note)


class Copies:
    """Copies of checkpoints, each in the memory of the one before; what comes from a GPU lies in pinned memory.

    Such a copy takes up to twice its bytes, see `toolkit.training.costs.pinned`.
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
