import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from toolkit.artifacts import DiskFullError
from toolkit.runs.folder import Checkpoint, RunFolder

ORIGIN = {"command": "python", "sha256": {"file": "cafe"}, "data": {"source": "organism", "mix": (0.5, 0.5)}}
SETTINGS = {"k": 20, "layers": (3, 5), "data": "organism"}


def start(path: Path, keep: int = 2, **changes) -> RunFolder:
    """A folder that holds a run of one step."""
    folder = RunFolder.open(path, SETTINGS | changes, resume=False, overwrite=False, keep=keep)
    folder.write_json("config.json", {"run": SETTINGS | changes})
    folder.append_record({"step": 1, "loss": 3.5})
    return folder


def reopen(path: Path, *, resume: bool = False, overwrite: bool = False, **changes) -> RunFolder:
    return RunFolder.open(path, SETTINGS | changes, resume=resume, overwrite=overwrite)


def checkpoint(step: int, size: int = 8) -> Checkpoint:
    tensors = {"weights": torch.full((size,), float(step)), "codes": torch.arange(3).to(torch.bfloat16)}
    return Checkpoint(step=step, tensors=tensors, state={"stream": {"window": step}, "share": 0.1})


def step_of(found: Checkpoint | None) -> int:
    """The step of a checkpoint that is whole and agrees with itself."""
    assert found is not None
    assert (found.tensors["weights"] == found.step).all()
    assert found.tensors["codes"].dtype == torch.bfloat16
    assert found.state == {"stream": {"window": found.step}, "share": 0.1}
    return found.step


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    start(tmp_path)
    with pytest.raises(ValueError, match=r"already holds a run: add --resume .* --overwrite .* another --out"):
        reopen(tmp_path)
    with pytest.raises(ValueError, match="--resume and --overwrite exclude each other"):
        reopen(tmp_path, resume=True, overwrite=True)


def test_a_run_that_never_took_a_step_is_no_run(tmp_path):
    reopen(tmp_path / "new" / "run").write_json("config.json", {"run": SETTINGS})
    reopen(tmp_path / "new" / "run", k=21)


def test_a_file_in_the_folder_s_place_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ValueError, match="is a file, not a folder"):
        reopen(tmp_path / "run")


def test_resuming_takes_the_same_settings_and_names_others(tmp_path):
    start(tmp_path)
    assert reopen(tmp_path, resume=True).records() == [{"step": 1, "loss": 3.5}]
    with pytest.raises(ValueError, match=r"other settings \(k: 20 then, 21 now, lr: None then, 0\.1 now\)"):
        reopen(tmp_path, resume=True, k=21, lr=0.1)


def test_overwriting_removes_the_run_and_nothing_else(tmp_path):
    folder = start(tmp_path)
    folder.save_checkpoint(checkpoint(1))
    for name in ("figures", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    for name in ("provenance.json", "metrics.json", "crosscoder.safetensors", "report.html", "thesis.tex"):
        (tmp_path / name).touch()
    again = reopen(tmp_path, overwrite=True, k=21)
    assert (tmp_path / "report.html").exists()  # nothing goes before all else is known to be well
    again.begin(SETTINGS | {"k": 21}, ORIGIN, resume=False)
    left = ["config.json", "notes", "provenance.json", "thesis.tex"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    assert again.read_json("config.json")["run"]["k"] == 21


@pytest.mark.parametrize("name", ["sha256", "data"])
def test_resuming_with_other_inputs_names_them(tmp_path, name):
    folder = start(tmp_path)
    folder.begin(SETTINGS, ORIGIN, resume=False)
    folder.append_record({"step": 1, "loss": 3.5})
    again = reopen(tmp_path, resume=True)
    again.begin(SETTINGS, ORIGIN, resume=True)
    with pytest.raises(ValueError, match=rf"started with other inputs \({name}: .* then, .* now\)"):
        again.begin(SETTINGS, ORIGIN | {name: {"file": "beef"}}, resume=True)


def test_json_is_written_whole_and_leaves_nothing_beside_it(tmp_path):
    folder = start(tmp_path)
    folder.write_json("metrics.json", {"pair": "R1 – ‖x‖", "fve": 0.5})
    assert folder.read_json("metrics.json") == {"pair": "R1 – ‖x‖", "fve": 0.5}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "metrics.json", "metrics.jsonl"]


def test_records_of_steps_taken_again_are_dropped_and_so_is_a_broken_line(tmp_path):
    folder = start(tmp_path)
    for step in range(2, 6):
        folder.append_record({"step": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    folder.drop_records_after(3)
    assert [record["step"] for record in folder.records()] == [1, 2, 3]
    assert RunFolder(path=tmp_path / "other").records() == []


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    folder = start(tmp_path)
    assert folder.load_checkpoint() is None
    folder.save_checkpoint(checkpoint(7))
    assert step_of(folder.load_checkpoint()) == 7
    folder.save_checkpoint(checkpoint(7))  # again, after a run resumed at its end
    assert step_of(folder.load_checkpoint()) == 7


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_checkpoints_are_kept(tmp_path, keep):
    folder = start(tmp_path, keep)
    for step in (5, 50, 500, 5000):
        saved = folder.save_checkpoint(checkpoint(step))
    assert saved == folder.last_checkpoint()
    assert [int(path.name.removeprefix("step-")) for path in folder.checkpoints()] == [5, 50, 500, 5000][-keep:]


def test_death_while_writing_leaves_the_previous_checkpoint(tmp_path):
    folder = start(tmp_path)
    whole = folder.save_checkpoint(checkpoint(1))
    unfinished = folder.path / "checkpoints" / "step-000000002.tmp"
    unfinished.mkdir()
    (unfinished / "tensors.safetensors").write_bytes((whole / "tensors.safetensors").read_bytes()[:40])
    assert step_of(folder.load_checkpoint()) == 1
    folder.save_checkpoint(checkpoint(2))
    assert not unfinished.exists()
    assert step_of(folder.load_checkpoint()) == 2


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    program = (
        "import torch; from pathlib import Path; from toolkit.runs.folder import Checkpoint, RunFolder\n"
        f"folder = RunFolder(path=Path({str(tmp_path)!r}))\n"
        "for step in range(1, 10**6):\n"
        "    tensors = {'weights': torch.full((300_000,), float(step)), 'codes': torch.arange(3).to(torch.bfloat16)}\n"
        "    state = {'stream': {'window': step}, 'share': 0.1}\n"
        "    folder.save_checkpoint(Checkpoint(step=step, tensors=tensors, state=state))\n"
        "    print(step, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    written = [int(next(process.stdout)) for _ in range(5)]
    process.kill()
    written += [int(line) for line in process.communicate()[0].splitlines()]
    assert step_of(RunFolder(path=tmp_path).load_checkpoint()) in (written[-1], written[-1] + 1)


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
@pytest.mark.parametrize("damage", [lambda b: b[:10], lambda b: b"\xff" * len(b), None])
def test_a_damaged_checkpoint_is_named_and_how_to_go_on(tmp_path, name, damage):
    folder = start(tmp_path)
    folder.save_checkpoint(checkpoint(1))
    last = folder.save_checkpoint(checkpoint(2))
    if damage:
        (last / name).write_bytes(damage((last / name).read_bytes()))
    else:
        (last / name).unlink()
    with pytest.raises(ValueError, match=r"checkpoint .*step-000000002 cannot be read .* the one before"):
        folder.load_checkpoint()


def test_a_full_disk_is_a_clear_error_and_what_was_saved_stays_whole(tmp_path, small_disk):
    folder = start(tmp_path)
    folder.save_checkpoint(checkpoint(1))
    before = sorted(tmp_path.rglob("*"))
    whole = r"no room left .*last checkpoint is whole: .*step-000000001: free some"
    with small_disk(), pytest.raises(DiskFullError, match=whole) as e:
        folder.save_checkpoint(checkpoint(2, size=100_000))
    assert e.value.errno == errno.ENOSPC
    with small_disk(), pytest.raises(DiskFullError, match="then --resume"):
        folder.write_json("config.json", {"run": "x" * 10_000})
    assert sorted(tmp_path.rglob("*")) == before
    assert step_of(folder.load_checkpoint()) == 1
    assert folder.read_json("config.json")["run"]["k"] == 20


def test_a_full_disk_stops_the_records_too(tmp_path, small_disk):
    folder = start(tmp_path)
    with small_disk():
        for step in range(2, 5):
            folder.append_record({"step": step})
        with pytest.raises(DiskFullError, match="no room left"):
            folder.append_record({"step": 5, "note": "x" * 10_000})
    folder.drop_records_after(4)
    assert [record["step"] for record in folder.records()] == [1, 2, 3, 4]


def test_other_errors_are_left_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError):
        RunFolder(path=tmp_path / "gone").write_json("config.json", {})
    shared = torch.zeros(4)
    twice = Checkpoint(step=1, tensors={"a": shared, "b": shared}, state={})
    with pytest.raises(RuntimeError, match="share memory"):
        start(tmp_path).save_checkpoint(twice)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_too_little_space_is_refused_before_the_run(tmp_path):
    folder = start(tmp_path, keep=3)
    folder.require_space(1000)
    with pytest.raises(DiskFullError, match=r"3 checkpoints and one being written take 4000000000\.00 GB: free some"):
        folder.require_space(10**18)
