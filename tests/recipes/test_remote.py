"""A run on NDIF trains the crosscoder that a run here trains, whatever befalls its jobs."""

import json
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ndif_server import KEY, NdifServer
from safetensors.torch import load_file

from toolkit.training.folder import RunFolder

SMALL = "--tokens 3072 --buffer-tokens 512 --held-out-tokens 512 --checkpoint-steps 4".split()
OPENING = ["", ""]
FAULTS = ["", "late", "500", "drop", "truncated", "", "lost", "evicted", "hang", "late", "late", "500", "truncated"]
Train = Callable[[list[str]], None]


@pytest.fixture(scope="module")
def settings(run_settings: list[str]) -> list[str]:
    """A command line for a run of 12 steps, but for its folder."""
    return [*run_settings, *SMALL]


@pytest.fixture(scope="module")
def here(train: Train, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a run on this machine."""
    folder = tmp_path_factory.mktemp("here") / "run"
    train([*settings, "--out", str(folder)])
    return folder


@pytest.fixture
def arguments(settings: list[str], tmp_path: Path) -> list[str]:
    """The same on NDIF, with short deadlines."""
    return [*settings, "--out", str(tmp_path / "run"), "--remote", "--wire", "fp32", "--jobs", "4", "--deadline", "2"]


def assert_same(folder: Path, other: Path) -> None:
    weights, others = (load_file(each / "crosscoder.safetensors") for each in (folder, other))
    for name, tensor in others.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("faults", [[], FAULTS], ids=["no fault", "every fault"])
def test_weights_are_those_of_a_run_here(
    train: Train, here: Path, arguments: list[str], tmp_path: Path, ndif: NdifServer, faults: list[str], capsys
) -> None:
    ndif.faults.extend([*OPENING, *faults])
    train(arguments if faults else [*arguments, "--deadline", "60"])
    assert not ndif.faults
    assert_same(tmp_path / "run", here)
    ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (here, tmp_path / "run"))
    assert ours["masks"] == theirs["masks"]
    assert theirs["remote"] | {"host": "127.0.0.1", "wire": "fp32", "wire_error": 0.0} == theirs["remote"]
    assert (theirs["remote"]["retries"] > 0) == bool(faults)
    said = capsys.readouterr()
    words = " ".join(said.out.split())
    assert "NDIF at 127.0.0.1: 3.07k tokens × 2 streams × 16 numbers as fp32 are 393 kB to receive, in" in words
    assert "B received" in words
    assert KEY not in said.out + said.err
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        assert KEY.encode() not in file.read_bytes()
    assert not any(KEY.encode() in payload for payload in ndif.payloads)


def test_weights_outlive_a_restart_of_the_server(
    train: Train, here: Path, arguments: list[str], tmp_path: Path, ndif: NdifServer
) -> None:
    def restart_midway(already: int = len(ndif.payloads)) -> None:
        while len(ndif.payloads) < already + 10:
            time.sleep(0.01)
        ndif.stop()
        ndif.start()

    restart = threading.Thread(target=restart_midway)
    restart.start()
    train(arguments)
    restart.join()
    assert_same(tmp_path / "run", here)


def test_a_run_whose_jobs_fail_for_good_names_the_batch_saves_itself_and_goes_on(
    train: Train, here: Path, arguments: list[str], tmp_path: Path, ndif: NdifServer, capsys
) -> None:
    ndif.faults.extend([*OPENING, *[""] * 14, *["500"] * 40])
    with pytest.raises(SystemExit, match="1"):
        train([*arguments, "--checkpoint-steps", "1000"])
    said = " ".join(capsys.readouterr().err.split())
    failed = (
        r"the text is read up to batch \d+ of window 0: a job for .* failed 5 times on 127.0.0.1; the last time: .*500"
    )
    assert re.search(rf"{failed}.* saved at step \d+ Go on with: .* --resume$", said)
    folder = RunFolder(path=tmp_path / "run")
    saved = folder.checkpoints.load()
    assert saved is not None
    assert 0 < saved.step == len(folder.records()) < 12
    ndif.faults.clear()
    train([*arguments, "--checkpoint-steps", "1000", "--resume"])
    assert_same(tmp_path / "run", here)


def test_a_killed_run_goes_on_to_the_same_weights(
    start: Callable, train: Train, here: Path, arguments: list[str], tmp_path: Path, ndif: NdifServer
) -> None:
    ndif.faults.extend([*OPENING, *[""] * 14, *["hang"] * 100])  # so that it is killed midway
    process = start(arguments)
    while not list((tmp_path / "run").glob("checkpoints/step-*[0-9]")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    ndif.faults.clear()
    train([*arguments, "--resume"])
    assert_same(tmp_path / "run", here)
