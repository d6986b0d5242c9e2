"""A run stopped at any moment ends as one that was never stopped."""

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.library_warnings import ToolkitWarning

Start = Callable[[list[str]], "subprocess.Popen[str]"]
Train = Callable[[list[str]], None]


@pytest.fixture
def finished(trained: Path) -> tuple[bytes, str]:
    """Weights and metrics of the run that was never stopped."""
    return results(trained)


def results(folder: Path) -> tuple[bytes, str]:
    return (folder / "crosscoder.safetensors").read_bytes(), (folder / "metrics.jsonl").read_text()


def steps_done(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def stop(process: "subprocess.Popen[str]", number: signal.Signals, folder: Path, step: int) -> tuple[int, str]:
    """Send a signal once `step` steps are on record; return exit code and what was said."""
    while steps_done(folder) < step and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    return process.returncode, " ".join(said.split())


@pytest.mark.slow
def test_killed_terminated_and_resumed_is_the_same_run(
    start: Start, train: Train, run_arguments: list[str], tmp_path: Path, finished: tuple[bytes, str]
) -> None:
    folder = tmp_path / "run"
    code, _ = stop(start(run_arguments), signal.SIGKILL, folder, step=random.Random(0).randint(8, 20))
    assert code == -signal.SIGKILL
    assert 0 < steps_done(folder) < 40
    resumed = [*run_arguments, "--resume"]
    code, said = stop(start(resumed), signal.SIGTERM, folder, step=steps_done(folder) + 3)
    assert code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM, saved at step" in said
    assert said.endswith("--resume")
    assert not (folder / "crosscoder.safetensors").exists()
    train(resumed)
    assert results(folder) == finished


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_is_the_same_run(
    start: Start, train: Train, run_arguments: list[str], tmp_path: Path, finished: tuple[bytes, str], seed: int
) -> None:
    """Three kills a run, at moments that chance picks: while loading, training, saving or evaluating."""
    chance = random.Random(seed)
    folder = tmp_path / "run"
    for _ in range(3):
        process = start([*run_arguments, "--resume"])
        stop(process, signal.SIGKILL, folder, step=steps_done(folder) + chance.randint(0, 12))
    train([*run_arguments, "--resume"])
    assert results(folder) == finished


def test_a_finished_run_is_only_evaluated_again(train: Train, run_arguments: list[str], finished_run: Path) -> None:
    before = results(finished_run)
    metrics = json.loads((finished_run / "metrics.json").read_text())
    (finished_run / "metrics.json").unlink()
    train([*run_arguments, "--resume"])
    assert results(finished_run) == before
    again = json.loads((finished_run / "metrics.json").read_text())
    timed = {name for name in metrics if "seconds" in name}
    assert {k: v for k, v in again.items() if k not in timed} == {k: v for k, v in metrics.items() if k not in timed}


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    train: Train, run_arguments: list[str], finished_run: Path
) -> None:
    before = results(finished_run)
    tensors = finished_run / "checkpoints" / "step-000000040" / "tensors.safetensors"
    content = tensors.read_bytes()
    tensors.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.warns(ToolkitWarning, match="a newer checkpoint is damaged .* going on from .*step-000000035"):
        train([*run_arguments, "--resume"])
    assert results(finished_run) == before
    assert tensors.read_bytes() == content
