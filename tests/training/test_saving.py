"""A thread writes checkpoints beside the run; here it is held back, broken, and killed at every moment of its work."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from toolkit.artifacts import DiskFullError
from toolkit.dictionaries.collectives import Ranks
from toolkit.fields import changed
from toolkit.harvest.feed import ShardState
from toolkit.library_warnings import ToolkitWarning
from toolkit.models.pair import ModelPair
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.tracking import Stopwatch
from toolkit.training import checkpoints as writing
from toolkit.training.checkpoints import Checkpoint, Checkpoints
from toolkit.training.saving import NEVER, Copies, Saver
from toolkit.training.training_run import TrainingRun

KILLED = """
import os, sys, torch
from pathlib import Path
from toolkit.harvest.feed import ShardState
from toolkit.tracking import Stopwatch
from toolkit.training import checkpoints as writing
from toolkit.training.checkpoints import Checkpoint, Checkpoints
from toolkit.training.saving import Saver

folder, *moments = sys.argv[1:]

def dying(function, calls):
    left = [calls]
    def call(*given, **named):
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)
        return function(*given, **named)
    return call

for moment in moments:  # each in a process of its own, which finds everything imported
    if os.fork() == 0:
        break
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 9
else:
    sys.exit()
name, calls = moment.split()
owner = Path if name in ("mkdir", "rename", "replace") else writing
setattr(owner, name, dying(getattr(owner, name), int(calls)))
weights, storage = torch.zeros(5000), torch.zeros(40, 2)
saver = Saver(Checkpoints(folder=Path(folder) / moment), Stopwatch())
for step in range(1, 10**6):
    for tensor in (weights, storage):
        tensor.fill_(step)
    shards = {0: ShardState({"storage": storage}, {"chunk": step})}
    saver.save(Checkpoint(step=step, tensors={"weights": weights}, state={"place": step}, shards=shards))
    for tensor in (weights, storage):
        tensor.fill_(-1)  # as the run goes on while the thread writes
"""


def joined(saver: Saver) -> None:
    """Wait until the thread has written, or failed to."""
    assert saver._thread
    saver._thread.join()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "checkpoints"]


def checkpoint(step: int, size: int = 8) -> Checkpoint:
    shard = ShardState({"storage": torch.full((4, 2), float(step))}, {"chunk": step})
    return Checkpoint(
        step=step, tensors={"weights": torch.full((size,), float(step))}, state={"place": [step]}, shards={0: shard}
    )


def assert_of_one_step(found: Checkpoint | None) -> int:
    assert found is not None
    assert (found.tensors["weights"] == found.step).all()
    assert (found.shards[0].tensors["storage"] == found.step).all()
    assert found.shards[0].state == {"chunk": found.step}
    return found.step


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(folder=tmp_path / "checkpoints")


@pytest.fixture
def held_back(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The thread waits before it seals a checkpoint, until the event is set."""
    go, write = threading.Event(), writing.write_sealed

    def wait_and_write(*given: object) -> None:
        assert go.wait(60)
        write(*given)

    monkeypatch.setattr(writing, "write_sealed", wait_and_write)
    return go


SAFE = {
    "write_tensors 6": (2, 3),  # two files a checkpoint: the fourth is begun
    "write_tensors 7": (2, 3),
    "write_sealed 1": (1,),
    "write_sealed 3": (3,),
    "flush 6": (1,),  # four files and the folder
    "flush 9": (2,),
    "replace 5": (2,),
    "_delete 8": (2, 3, 4),
}
"""At which call of which function the process is killed, and which steps may be the last whole ones."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints for each moment."""
    folder = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, "-c", KILLED, str(folder), *SAFE], env=os.environ, check=True)
    return folder


@pytest.mark.parametrize("moment", SAFE)
def test_a_kill_at_any_moment_of_the_writing_leaves_the_last_whole_one_of_a_single_step(
    killed: Path, moment: str
) -> None:
    found = Checkpoints(folder=killed / moment)
    assert assert_of_one_step(found.load([0])) in SAFE[moment]


def test_what_is_written_is_the_state_at_the_save_though_the_run_goes_on(
    checkpoints: Checkpoints, held_back: threading.Event
) -> None:
    given, saver = checkpoint(1), Saver(checkpoints, Stopwatch())
    saver.save(given)
    given.tensors["weights"].fill_(9)
    given.shards[0].tensors["storage"].fill_(9)
    given.shards[0].state["chunk"] = 9
    given.state["place"].append(9)
    assert checkpoints.load() is None  # the thread is held back
    held_back.set()
    saver.wait()
    found = checkpoints.load([0])
    assert assert_of_one_step(found) == 1
    assert found is not None and found.state == {"place": [1]}  # noqa: PT018


def test_a_second_save_waits_for_the_first(checkpoints: Checkpoints, held_back: threading.Event) -> None:
    saver = Saver(checkpoints, watch := Stopwatch())
    saver.save(checkpoint(1))
    at_once = watch.seconds["checkpoints"]
    threading.Timer(0.2, held_back.set).start()
    saver.save(checkpoint(2))
    assert watch.seconds["checkpoints"] > at_once + 0.1
    assert checkpoints.load() is not None
    saver.wait()
    assert [path.name for path in checkpoints.paths()] == ["step-000000001", "step-000000002"]
    assert saver.seconds >= 0.2


def test_copies_keep_their_memory_and_shrink_and_grow_with_what_they_hold() -> None:
    copies = Copies()
    first = copies.of(checkpoint(1, size=8)).tensors["weights"]
    fewer = copies.of(checkpoint(2, size=5)).tensors["weights"]
    assert fewer.data_ptr() == first.data_ptr()
    assert fewer.tolist() == [2.0] * 5
    assert copies.of(checkpoint(3, size=20)).tensors["weights"].tolist() == [3.0] * 20


@pytest.mark.parametrize("at", ["wait", "end"])
def test_a_full_disk_is_said_at_the_end_and_the_run_can_save_again(
    checkpoints: Checkpoints, small_disk: Callable[[], AbstractContextManager[None]], at: str
) -> None:
    saver = Saver(checkpoints, Stopwatch())
    saver.save(checkpoint(1))
    saver.wait()
    with small_disk():
        saver.save(checkpoint(2, size=100_000))
        joined(saver)
    assert saver.has_failed
    with pytest.raises(DiskFullError, match=r"last checkpoint is whole: .*step-000000001: free some"):
        saver.wait() if at == "wait" else saver.__exit__(None, None, None)
    assert (saver.step, saver.has_failed, threads()) == (NEVER, False, [])
    saver.save(checkpoint(2))
    saver.wait()
    assert assert_of_one_step(checkpoints.load([0])) == 2


def test_a_checkpoint_that_was_lost_is_replaced_by_the_next_which_is_written_when_save_returns(
    checkpoints: Checkpoints, small_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    saver = Saver(checkpoints, Stopwatch())
    with small_disk():
        saver.save(checkpoint(1, size=100_000))
        joined(saver)
    with pytest.warns(ToolkitWarning, match=r"step 1 was not written \(.*too large.*\); that of step 2 is"):
        saver.save(checkpoint(2))
    assert assert_of_one_step(checkpoints.load([0])) == 2


def test_of_two_checkpoints_that_are_lost_both_are_said(
    checkpoints: Checkpoints, small_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    saver = Saver(checkpoints, Stopwatch())
    saver.save(checkpoint(1))
    with small_disk():
        saver.save(checkpoint(2, size=100_000))
        with pytest.raises(DiskFullError, match=r"last checkpoint is whole: .*step-000000001: free some") as told:
            saver.save(checkpoint(3, size=100_000))
    [before] = told.value.__notes__
    assert before.startswith("before that, the checkpoint of step 2 was not written (")
    assert "whole" not in before
    assert (saver.step, saver.has_failed) == (NEVER, False)


def test_another_error_has_a_note_of_what_is_safe(checkpoints: Checkpoints) -> None:
    saver = Saver(checkpoints, Stopwatch())
    saver.save(checkpoint(1))
    saver.save(Checkpoint(step=2, tensors={}, state={"place": {1, 2}}))
    with pytest.raises(TypeError, match="set is not JSON") as told:
        saver.wait()
    assert told.value.__notes__ == [f"last good checkpoint: {checkpoints.folder / 'step-000000001'}"]


def test_an_error_of_the_run_stays_and_is_told_that_the_writing_failed_too(checkpoints: Checkpoints) -> None:
    def run() -> None:
        with Saver(checkpoints, Stopwatch()) as saver:
            saver.save(Checkpoint(step=2, tensors={}, state={"place": {1, 2}}))
            raise ValueError("the run")

    with pytest.raises(ValueError, match="the run") as told:
        run()
    assert told.value.__notes__[0].startswith("the checkpoint of step 2 was not written: Object of type set")
    assert told.value.__notes__[1] == "last good checkpoint: none yet"
    assert threads() == []


def test_of_several_ranks_a_save_returns_when_it_is_written(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ranks, "wait", lambda self: None)
    saver = Saver(checkpoints, Stopwatch(), Ranks(size=2))
    saver.save(checkpoint(1))
    assert assert_of_one_step(checkpoints.load([0])) == 1
    assert saver.seconds == 0


def test_a_run_whose_writing_lags_ends_with_its_last_checkpoint_and_goes_on_exactly(
    open_run: Callable[..., TrainingRun], config: RunConfig, pair: ModelPair, held_back: threading.Event
) -> None:
    config = changed(config, checkpoint_steps=20)
    with open_run(config, pair) as run:
        for step, *_ in run.steps():
            if step.step == 30:
                assert run.folder.checkpoints.newest_whole() is None  # ten steps were taken beside the writing
                held_back.set()
    assert [path.name for path in run.folder.checkpoints.paths()] == ["step-000000020", "step-000000040"]
    weights, records = run.trainer.state_dict(), run.folder.records()
    run.folder.checkpoints.paths()[-1].rename(config.output.out / "lost")
    with open_run(changed(config, resume=True), pair) as again:
        assert [step.step for [step] in again.steps()] == list(range(21, 41))
    assert again.folder.records() == records
    assert all(torch.equal(tensor, weights[name]) for name, tensor in again.trainer.state_dict().items())
    assert again.metrics()["seconds_in_writing_thread"] > 0
    assert threads() == []
