"""Runs that cannot write some of their checkpoints: what is saved when they go on, end, or have to stop."""

import errno
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from toolkit.artifacts import DiskFullError
from toolkit.command_line.interrupts import Interrupted
from toolkit.dictionaries.collectives import ALONE
from toolkit.library_warnings import ToolkitWarning
from toolkit.tracking import Stopwatch
from toolkit.training import checkpoints as writing
from toolkit.training.checkpoints import Checkpoint, Checkpoints
from toolkit.training.saving import Saver
from toolkit.training.stepping import reading, stepping

STEPS, EVERY = 12, 4
Refuse = Callable[..., None]


class CountingRun:
    """A run whose weights are its number of steps; something happens while step `at` is taken, or the next is read."""

    def __init__(
        self,
        folder: Path,
        at: int = STEPS,
        taking: Callable[[], object] = lambda: None,
        reading: Callable[[], object] = lambda: None,
        every: int = EVERY,
    ) -> None:
        self.checkpoints, self.done = Checkpoints(folder=folder), 0
        self.saver = Saver(self.checkpoints, Stopwatch())
        self._at, self._taking, self._reading, self._every = at, taking, reading, every

    def run(self) -> None:
        steps = stepping(
            self._steps(),
            record=lambda _: None,
            save=self._save,
            saver=self.saver,
            done=lambda: self.done,
            every=self._every,
            ranks=ALONE,
        )
        for step in steps:
            if step == self._at:
                self._taking()

    def _steps(self) -> Iterator[int]:
        while self.done < STEPS:
            reading(self._read, save=self._save, saver=self.saver, done=lambda: self.done, ranks=ALONE)
            self.done += 1
            yield self.done

    def _read(self) -> None:
        if self.done == self._at:
            self._reading()

    def _save(self) -> None:
        if self.done != self.saver.step:
            self.saver.save(Checkpoint(step=self.done, tensors={"weights": torch.tensor(self.done)}, state={}))

    @property
    def saved(self) -> int:
        found = self.checkpoints.load()
        assert found is not None
        assert int(found.tensors["weights"]) == found.step
        return found.step


def cannot_read() -> None:
    raise ConnectionError("the text is gone")


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.fixture(params=["known at once", "known at the next save"])
def refuse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Let the disk refuse the checkpoints of these steps, each so many times.

    That is known before the run goes on, or when it next waits for the disk.
    """
    write, begin, join = writing.write_tensors, Saver._begin, Saver._join
    waits = threading.Event()

    def begin_and_wait(saver: Saver, checkpoint: Checkpoint) -> None:
        begin(saver, checkpoint)
        if request.param == "known at once" and saver._thread is not None:
            saver._thread.join()
        waits.clear()

    def wait(saver: Saver) -> None:
        waits.set()
        join(saver)

    def of(steps: Collection[int], number: int = errno.ENOSPC, *, times: int = 2) -> None:
        left = dict.fromkeys(steps, times)

        def refusing(path: Path, tensors: dict[str, Tensor]) -> str:
            step = int(path.parent.stem.removeprefix("step-"))
            if left.get(step):
                left[step] -= 1
                assert request.param == "known at once" or waits.wait(60)
                raise OSError(number, os.strerror(number), str(path))
            return write(path, tensors)

        monkeypatch.setattr(writing, "write_tensors", refusing)
        monkeypatch.setattr(Saver, "_begin", begin_and_wait)
        monkeypatch.setattr(Saver, "_join", wait)

    return of


LOST = r"the checkpoint of step {} was not written \(.*\); that of step {} is"
TWICE = r"the checkpoint of step {} was not written \(.*\); a second try wrote it"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_run_goes_on_where_a_later_step_can_be_saved(tmp_path: Path, refuse: Refuse, number: int) -> None:
    refuse([4], number)
    run = CountingRun(tmp_path)
    with pytest.warns(ToolkitWarning, match=LOST.format(4, "[58]")):
        run.run()
    assert (run.done, run.saved) == (STEPS, STEPS)


def test_a_run_ends_where_the_next_step_cannot_be_saved_either(tmp_path: Path, refuse: Refuse) -> None:
    refuse(range(8, STEPS + 1))
    run = CountingRun(tmp_path)
    with pytest.raises(DiskFullError, match=r"whole: .*step-000000004: free some space") as told:
        run.run()
    assert run.done in (9, STEPS)
    assert run.saved == 4
    [before] = told.value.__notes__
    assert before.startswith("before that, the checkpoint of step 8 was not written ([Errno 28]")


def test_the_last_step_is_saved_though_the_checkpoint_before_it_was_lost(tmp_path: Path, refuse: Refuse) -> None:
    refuse([STEPS - 1])
    run = CountingRun(tmp_path, every=STEPS - 1)
    with pytest.warns(ToolkitWarning, match=LOST.format(STEPS - 1, STEPS)):
        run.run()
    assert run.saved == STEPS


def test_the_last_step_is_saved_at_a_second_try(tmp_path: Path, refuse: Refuse) -> None:
    refuse([STEPS], times=1)
    run = CountingRun(tmp_path)
    with pytest.warns(ToolkitWarning, match=TWICE.format(STEPS)):
        run.run()
    assert run.saved == STEPS


def test_the_last_step_is_tried_twice_and_no_more(tmp_path: Path, refuse: Refuse) -> None:
    refuse([STEPS])
    run = CountingRun(tmp_path)
    with pytest.raises(DiskFullError, match=r"whole: .*step-000000008: free some space") as told:
        run.run()
    [before] = told.value.__notes__
    assert before.startswith(f"before that, the checkpoint of step {STEPS} was not written ([Errno 28]")


def test_at_a_signal_the_step_is_saved_at_a_second_try(tmp_path: Path, refuse: Refuse) -> None:
    refuse([8], times=1)
    run = CountingRun(tmp_path, at=8, taking=terminate)
    with pytest.warns(ToolkitWarning, match=TWICE.format(8)), pytest.raises(Interrupted, match="saved at step 8"):
        run.run()
    assert run.saved == 8


def test_where_reading_fails_the_step_is_saved_at_a_second_try(tmp_path: Path, refuse: Refuse) -> None:
    refuse([8], times=1)
    run = CountingRun(tmp_path, at=8, reading=cannot_read)
    with pytest.warns(ToolkitWarning, match=TWICE.format(8)), pytest.raises(ConnectionError) as told:
        run.run()
    assert told.value.__notes__ == ["saved at step 8"]
    assert run.saved == 8


def test_a_signal_saves_its_step_though_an_earlier_checkpoint_was_lost(tmp_path: Path, refuse: Refuse) -> None:
    refuse([4])
    run = CountingRun(tmp_path, at=5, taking=terminate)
    with pytest.warns(ToolkitWarning, match=LOST.format(4, 5)), pytest.raises(Interrupted, match="saved at step 5"):
        run.run()
    assert run.saved == 5


def test_a_signal_whose_step_cannot_be_saved_ends_with_what_failed_and_what_is_safe(
    tmp_path: Path, refuse: Refuse
) -> None:
    refuse([8, 9], errno.EACCES)
    run = CountingRun(tmp_path, at=9, taking=terminate)
    with pytest.raises(PermissionError, match="step-000000009") as told:
        run.run()
    last, before, stopped = told.value.__notes__
    assert last == f"last good checkpoint: {tmp_path / 'step-000000004'}"
    assert before.startswith("before that, the checkpoint of step 8 was not written ([Errno 13]")
    assert stopped == "stopped by SIGTERM, not saved at step 9"


def test_where_reading_fails_its_step_is_saved_though_an_earlier_checkpoint_was_lost(
    tmp_path: Path, refuse: Refuse
) -> None:
    refuse([8])
    run = CountingRun(tmp_path, at=9, reading=cannot_read)
    with pytest.warns(ToolkitWarning, match=LOST.format(8, 9)), pytest.raises(ConnectionError) as told:
        run.run()
    assert told.value.__notes__ == ["saved at step 9"]
    assert run.saved == 9


def test_where_reading_fails_and_its_step_cannot_be_saved_both_are_said_and_what_is_safe(
    tmp_path: Path, refuse: Refuse
) -> None:
    refuse([8], errno.EACCES)
    run = CountingRun(tmp_path, at=8, reading=cannot_read)
    with pytest.raises(ConnectionError, match="the text is gone") as told:
        run.run()
    said, last, before = told.value.__notes__
    assert said.startswith("not saved at step 8: [Errno 13] Permission denied")
    assert before.startswith("before that, the checkpoint of step 8 was not written ([Errno 13]")
    assert last == f"last good checkpoint: {tmp_path / 'step-000000004'}"


def test_before_the_first_step_nothing_is_saved(tmp_path: Path) -> None:
    run = CountingRun(tmp_path, at=0, reading=cannot_read)
    with pytest.raises(ConnectionError) as told:
        run.run()
    assert not hasattr(told.value, "__notes__")
    assert run.checkpoints.paths() == []
