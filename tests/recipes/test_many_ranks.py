"""A launcher starts two processes; the truth is one that reads both shards of the text."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from comparing import assert_close
from rank_processes import RECIPES, in_two
from torch.multiprocessing.spawn import ProcessException

from toolkit.outputs import LOCK, MANIFEST

Call = Callable[..., str]
Train = Callable[[list[str]], None]
ACCELERATE = "import sys; from accelerate.commands.accelerate_cli import main; sys.exit(main())"
SHARDS = ["--shards", "2"]


def accelerate(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Call accelerate launch."""
    command = [sys.executable, "-c", ACCELERATE, "launch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def one(train: Train, run_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two shards in one process."""
    folder = tmp_path_factory.mktemp("one") / "run"
    train([*run_settings, *SHARDS, "--out", str(folder)])
    return folder


@pytest.mark.slow
def test_two_processes_train_the_crosscoder_of_one_and_fill_a_cache_for_it(
    run_settings: list[str], one: Path, tmp_path: Path
) -> None:
    arguments = [*run_settings, "--cache", tmp_path / "cache"]
    first, second = in_two("train_crosscoder.py", tmp_path, *arguments, "--out", tmp_path / "tokens")
    assert "Crosscoder on" in first
    assert second == ""  # one of them speaks
    assert_close(one, tmp_path / "tokens")
    in_two("train_crosscoder.py", tmp_path, *arguments, "--out", tmp_path / "latents", "--shard", "latents")
    assert_close(one, tmp_path / "latents")
    seconds = json.loads((tmp_path / "latents" / "metrics.json").read_text())["seconds_in_reading_thread"]
    assert seconds.keys() == {"reading the cache"}


@pytest.mark.slow
def test_two_processes_sweep_as_one_trains(run_settings: list[str], one: Path, tmp_path: Path) -> None:
    assert run_settings[run_settings.index("--k") + 1] == "8"
    swept = ["--k", "4", "8", "--n-latents", "64", "--out", tmp_path / "sweep"]
    first, second = in_two("sweep.py", tmp_path, *run_settings, *swept)
    assert "training 2 crosscoders 100%" in first
    assert second == ""
    assert_close(one, tmp_path / "sweep" / "n-latents-64_k-8")
    assert (tmp_path / "sweep" / "sweep.html").exists()


def test_two_processes_fill_the_cache_of_one(call: Call, run_settings: list[str], tmp_path: Path) -> None:
    said = call("cache_activations.py", *run_settings, *SHARDS, "--cache", tmp_path / "one")
    first, second = in_two("cache_activations.py", tmp_path, *run_settings, "--cache", tmp_path / "two")
    assert second == ""
    [stored] = re.findall(r"tokens ([\d,]+) size", said)
    assert re.search(rf"tokens +{stored} +│\n│ size", first)
    for path in (tmp_path / "one").rglob("*.*"):
        assert (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes()
    with pytest.raises(ProcessException):
        in_two("cache_activations.py", tmp_path, *run_settings, "--cache", tmp_path / "two", "--repair")
    assert "--repair takes one process" in "".join(path.read_text() for path in tmp_path.glob("said-*"))


def test_more_processes_than_shards_are_told_once(run_settings: list[str], tmp_path: Path) -> None:
    with pytest.raises(ProcessException):
        in_two("train_crosscoder.py", tmp_path, *run_settings, "--shards", 1, "--out", tmp_path / "run")
    said = "".join(path.read_text() for path in tmp_path.glob("said-*"))
    assert said.count("2 processes, but 1 shard of the text: start at most 1 processes") == 1
    # A launcher may kill the first process, which holds the folder, as soon as the other has said why.
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {MANIFEST, LOCK}


@pytest.mark.slow
def test_accelerate_starts_two_processes(run_settings: list[str], one: Path, tmp_path: Path) -> None:
    arguments = ["--num_processes", 2, RECIPES / "train_crosscoder.py", *run_settings, "--out", tmp_path / "two"]
    done = accelerate("--multi_gpu", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Crosscoder on") == 1
    assert_close(one, tmp_path / "two")
    done = accelerate("--cpu", *arguments)
    assert done.returncode != 0
    assert "asked for several processes and started one" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Once that is put right, go on with: python -c ")
    done = accelerate("--multi_gpu", *arguments, "--resume", "--shards", 1)
    assert done.returncode != 0
    assert done.stderr.count("2 processes, but 1 shard of the text") == 1
    assert done.stderr.splitlines()[-1].startswith("Once that is put right, go on with: python -c ")
