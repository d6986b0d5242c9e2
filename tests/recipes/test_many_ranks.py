"""A launcher starts two processes; the truth is one that reads both shards of the text."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

RECIPE = Path(__file__).parents[2] / "recipes" / "train_crosscoder.py"
Train = Callable[[list[str]], None]
ACCELERATE = "import sys; from accelerate.commands.accelerate_cli import main; sys.exit(main())"


def launch(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    """Start the recipe in two processes; without a GPU, accelerate takes --multi_gpu to mean several processes."""
    command = [sys.executable, "-c", ACCELERATE, "launch", "--multi_gpu", "--num_processes", "2", str(RECIPE)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("shard", ["tokens", "latents"])
def test_two_processes_train_the_crosscoder_of_one(
    train: Train, run_settings: list[str], tmp_path: Path, shard: str
) -> None:
    train([*run_settings, "--shards", "2", "--out", str(tmp_path / "one")])
    done = launch([*run_settings, "--shard", shard, "--out", str(tmp_path / "two")])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Crosscoder on") == 1  # one of them speaks
    one, two = (load_file(tmp_path / name / "crosscoder.safetensors") for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-5, msg=name)
    metrics = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two")]
    assert metrics[0]["masks"] == metrics[1]["masks"]
    assert (tmp_path / "two" / "report.html").exists()


@pytest.mark.slow
def test_more_processes_than_shards_are_told_once(run_settings: list[str], tmp_path: Path) -> None:
    done = launch([*run_settings, "--shards", "1", "--out", str(tmp_path / "run")])
    assert done.returncode != 0
    assert done.stderr.count("2 processes, but 1 shard of the text: start at most 1 processes") == 1
    assert not (tmp_path / "run").exists()
