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

REMOTE = ["--remote", "--wire", "fp32", "--jobs", "4", "--deadline", "5"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "crosscoder.safetensors")


def assert_same(folder: Path, other: Path) -> None:
    for name, tensor in weights(other).items():
        torch.testing.assert_close(weights(folder)[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    "faults",
    [
        [],
        ["", "", "late", "500", "drop", "truncated", "", "lost", "evicted", "hang", "late", "late", "500", "truncated"],
    ],
)
def test_weights_are_those_of_a_run_here(
    train, trained: Path, run_arguments: list[str], tmp_path: Path, ndif: NdifServer, faults: list[str], capsys
) -> None:
    opening = ["", ""]
    ndif.faults.extend([*opening, *faults])
    train([*run_arguments, *REMOTE])
    assert not ndif.faults
    assert_same(tmp_path / "run", trained)
    here, there = (json.loads((folder / "metrics.json").read_text()) for folder in (trained, tmp_path / "run"))
    assert here["masks"] == there["masks"]
    assert there["remote"] | {"host": "127.0.0.1", "wire": "fp32", "wire_error": 0.0} == there["remote"]
    assert (there["remote"]["retries"] > 0) == bool(faults)
    said = capsys.readouterr()
    words = " ".join(said.out.split())
    assert "NDIF at 127.0.0.1: 10.2k tokens × 2 streams × 16 numbers as fp32 are 1.31 MB to receive, in" in words
    assert "B received" in words
    assert KEY not in said.out + said.err
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        assert KEY.encode() not in file.read_bytes()


def test_weights_outlive_a_restart_of_the_server(
    train, trained: Path, run_arguments: list[str], tmp_path: Path, ndif: NdifServer
) -> None:
    def restart_midway(already: int = len(ndif.payloads)) -> None:
        while len(ndif.payloads) < already + 20:
            time.sleep(0.01)
        ndif.stop()
        ndif.start()

    restart = threading.Thread(target=restart_midway)
    restart.start()
    train([*run_arguments, *REMOTE])
    restart.join()
    assert_same(tmp_path / "run", trained)


def test_a_run_whose_jobs_fail_for_good_names_the_batch_and_goes_on(
    train, trained: Path, run_arguments: list[str], tmp_path: Path, ndif: NdifServer, capsys
) -> None:
    ndif.faults.extend([""] * 32 + ["500"] * 40)
    with pytest.raises(SystemExit, match="2"):
        train([*run_arguments, *REMOTE])
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(
        r"batch \d+ of window 0 of the text: a job for .* failed 5 times on 127.0.0.1; the last time: .*500", said
    )
    assert list((tmp_path / "run").glob("checkpoints/*"))
    ndif.faults.clear()
    train([*run_arguments, *REMOTE, "--resume"])
    assert_same(tmp_path / "run", trained)


def test_a_killed_run_goes_on_to_the_same_weights(
    start: Callable, train, trained: Path, run_arguments: list[str], tmp_path: Path, ndif: NdifServer
) -> None:
    process = start([*run_arguments, *REMOTE])
    while not list((tmp_path / "run").glob("checkpoints/*")):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    train([*run_arguments, *REMOTE, "--resume"])
    assert_same(tmp_path / "run", trained)
