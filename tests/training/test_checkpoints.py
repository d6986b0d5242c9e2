import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from toolkit.artifacts import DiskFullError, write_sealed
from toolkit.harvest.feed import ShardState
from toolkit.library_warnings import ToolkitWarning
from toolkit.training.checkpoints import Checkpoint, Checkpoints


def checkpoint(step: int, size: int = 8) -> Checkpoint:
    tensors = {"weights": torch.full((size,), float(step)), "codes": torch.arange(3).to(torch.bfloat16)}
    shard = ShardState({"storage": torch.full((4, 2), float(step))}, {"chunk": step})
    return Checkpoint(step=step, tensors=tensors, state={"stream": {"window": step}, "share": 0.1}, shards={0: shard})


def step_of(found: Checkpoint | None) -> int:
    """The step of a checkpoint that is whole and agrees with itself."""
    assert found is not None
    assert (found.tensors["weights"] == found.step).all()
    assert found.tensors["codes"].dtype == torch.bfloat16
    assert found.state == {"stream": {"window": found.step}, "share": 0.1}
    for shard in found.shards.values():
        assert (shard.tensors["storage"] == found.step).all()
        assert shard.state == {"chunk": found.step}
    return found.step


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(folder=tmp_path / "checkpoints", run="this one")


@pytest.fixture
def two(checkpoints: Checkpoints) -> Checkpoints:
    """Those of steps 1 and 2."""
    for step in (1, 2):
        checkpoints.save(checkpoint(step))
    return checkpoints


def test_a_checkpoint_comes_back_as_it_was(checkpoints):
    assert checkpoints.load() is None
    checkpoints.save(checkpoint(7))
    assert step_of(checkpoints.load([0])) == 7
    checkpoints.save(checkpoint(7))  # again, after a run resumed at its end
    assert step_of(checkpoints.load([0])) == 7


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_checkpoints_are_kept(tmp_path, keep):
    checkpoints = Checkpoints(folder=tmp_path, keep=keep)
    for step in (5, 50, 500, 5000):
        saved = checkpoints.save(checkpoint(step))
    assert saved == checkpoints.newest_whole()
    assert [int(path.name.removeprefix("step-")) for path in checkpoints.paths()] == [5, 50, 500, 5000][-keep:]


def test_death_while_writing_leaves_the_previous_checkpoint(checkpoints):
    whole = checkpoints.save(checkpoint(1))
    unfinished = whole.with_name("step-000000002.tmp")
    unfinished.mkdir()
    (unfinished / "tensors.safetensors").write_bytes((whole / "tensors.safetensors").read_bytes()[:40])
    assert step_of(checkpoints.load()) == 1
    checkpoints.save(checkpoint(2))
    assert not unfinished.exists()
    assert step_of(checkpoints.load()) == 2


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    program = (
        "import torch; from pathlib import Path; from toolkit.training.checkpoints import Checkpoint, Checkpoints\n"
        f"checkpoints = Checkpoints(folder=Path({str(tmp_path)!r}))\n"
        "for step in range(1, 10**6):\n"
        "    tensors = {'weights': torch.full((300_000,), float(step)), 'codes': torch.arange(3).to(torch.bfloat16)}\n"
        "    state = {'stream': {'window': step}, 'share': 0.1}\n"
        "    checkpoints.save(Checkpoint(step=step, tensors=tensors, state=state))\n"
        "    print(step, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    written = [int(next(process.stdout)) for _ in range(5)]
    process.kill()
    written += [int(line) for line in process.communicate()[0].splitlines()]
    assert step_of(Checkpoints(folder=tmp_path).load()) in (written[-1], written[-1] + 1)


def flip_last_bit(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))


def put_nan(path: Path) -> None:
    tensors = load_file(path)
    next(each for each in tensors.values() if each.is_floating_point()).view(-1)[0] = float("nan")
    save_file(tensors, path)


def drop_rows(path: Path) -> None:
    save_file({name: tensor[:-1].contiguous() for name, tensor in load_file(path).items()}, path)


def drop_a_tensor(path: Path) -> None:
    save_file({}, path)


DAMAGE = {
    "deleted": Path.unlink,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:10]),
    "emptied": lambda path: path.write_bytes(b""),
    "a flipped bit": flip_last_bit,
    **{said: lambda path, said=said: path.write_text(said) for said in ("[]", "{}", "null", '{"a": 1}', "[" * 9999)},
}
OF_TENSORS = {"NaN": put_nan, "fewer rows": drop_rows, "a tensor less": drop_a_tensor}
FILES = ["tensors.safetensors", "state.json", "shard-00000.safetensors", "shard-00000.json"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, damage) for name in FILES for damage in DAMAGE.values()),
        *((name, damage) for name in FILES if name.endswith("tensors") for damage in OF_TENSORS.values()),
    ],
)
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_taken(two, name, damage):
    damage(two.folder / "step-000000002" / name)
    with pytest.warns(ToolkitWarning, match=rf"damaged \(step-000000002: .*{name}.* going on from .*step-000000001"):
        assert step_of(two.load([0])) == 1


def test_where_none_is_whole_the_run_is_to_begin_again(two):
    for path in two.paths():
        flip_last_bit(path / "tensors.safetensors")
    with pytest.raises(ValueError, match=r"no checkpoint in .* \(step-000000002: .*; step-000000001: .*--overwrite"):
        two.load()
    assert two.newest_whole() is None


def test_nan_that_was_saved_is_refused(checkpoints):
    checkpoints.save(Checkpoint(step=1, tensors={"exp_avg.b_enc": torch.tensor([float("nan")])}, state={}))
    with pytest.raises(ValueError, match=r"tensors.safetensors holds NaN or infinity in .* exp_avg.b_enc"):
        checkpoints.load()


def test_what_lies_after_the_step_that_was_gone_on_from_goes(two):
    flip_last_bit(two.folder / "step-000000002" / "tensors.safetensors")
    two.save(checkpoint(1))
    assert [path.name for path in two.paths()] == ["step-000000001"]


def test_what_others_put_beside_a_checkpoint_stays(two):
    notes = [path / "notes.txt" for path in two.paths()]
    for note in notes:
        note.write_text("here the loss jumps")
    assert two.save(checkpoint(2)) == notes[1].parent  # again, after a run resumed at its end
    notes[1].write_text("no, later")
    assert step_of(two.load([0])) == 2
    for step in (3, 4):
        two.save(checkpoint(step))
    assert [list(note.parent.iterdir()) for note in notes] == [[note] for note in notes]
    assert notes[1].read_text() == "no, later"
    assert [path.name for path in two.paths()] == ["step-000000003", "step-000000004"]
    assert step_of(two.load([0])) == 4


def test_a_checkpoint_of_another_run_step_or_version_is_not_taken(checkpoints):
    path = checkpoints.save(checkpoint(1))
    other = Checkpoints(folder=checkpoints.folder, run="another")
    with pytest.raises(ValueError, match="is of another run"):
        other.load()
    path.rename(path.with_name("step-000000003"))
    with pytest.raises(ValueError, match="is of another run or step"):
        checkpoints.load()
    write_sealed(path.with_name("step-000000003") / "state.json", {"seconds": 1.0})
    with pytest.raises(ValueError, match="is of another version"):
        checkpoints.load()
    (path.with_name("step-000000003") / "state.json").write_text(json.dumps({"seconds": 1.0}))
    with pytest.raises(ValueError, match=r"has no seal: .* earlier version of this toolkit\): begin .* --overwrite"):
        checkpoints.load()


def test_a_full_disk_is_a_clear_error_and_what_was_saved_stays_whole(checkpoints, tmp_path, small_disk):
    checkpoints.save(checkpoint(1))
    before = sorted(tmp_path.rglob("*"))
    whole = r"no room left .*last checkpoint is whole: .*step-000000001: free some"
    with small_disk(), pytest.raises(DiskFullError, match=whole) as e:
        checkpoints.save(checkpoint(2, size=100_000))
    assert e.value.errno == errno.ENOSPC
    assert sorted(tmp_path.rglob("*")) == before
    assert step_of(checkpoints.load()) == 1


def test_other_errors_are_left_as_they_are(checkpoints):
    with pytest.raises(TypeError, match="not JSON serializable"):
        checkpoints.save(Checkpoint(step=1, tensors={}, state={"place": object()}))
    assert not list(checkpoints.folder.iterdir())


def test_what_a_killed_process_left_unfinished_goes_with_the_next_checkpoint(tmp_path: Path):
    unfinished = tmp_path / "step-000000007.tmp"
    unfinished.mkdir()
    (unfinished / "tensors.safetensors").touch()
    Checkpoints(folder=tmp_path).save(Checkpoint(step=9, tensors={"weights": torch.zeros(2)}, state={}))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000009"]
