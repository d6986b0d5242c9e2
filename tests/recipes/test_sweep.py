"""Crosscoders trained together are those trained alone, and a sweep stopped at any moment ends alike."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from toolkit.runs.subject import FindingsConfig, Subject

Call = Callable[..., str]
Train = Callable[[list[str]], None]
RECIPE = Path(__file__).parents[2] / "recipes" / "sweep.py"
SWEPT = ["--k", "4", "8", "--n-latents", "48", "64"]
NAMES = [f"n-latents-{n}_k-{k}" for n in (48, 64) for k in (4, 8)]


@pytest.fixture
def arguments(run_settings: list[str], tmp_path: Path) -> list[str]:
    """A sweep of four crosscoders of 40 steps."""
    swept = {"--k", "--n-latents"}
    pairs = zip(run_settings[::2], run_settings[1::2], strict=True)
    common = [part for name, value in pairs if name not in swept for part in (name, value)]
    return [*common, *SWEPT, "--out", str(tmp_path / "sweep")]


def results(folder: Path) -> list[bytes]:
    return [
        (folder / name / file).read_bytes() for name in NAMES for file in ("crosscoder.safetensors", "metrics.jsonl")
    ]


def test_each_is_the_crosscoder_that_is_trained_alone(
    call: Call, train: Train, arguments: list[str], run_settings: list[str], tmp_path: Path
) -> None:
    cache = ["--cache", str(tmp_path / "cache"), "--export", "dictionary_learning"]
    said = call("sweep.py", *arguments, *cache)
    assert "training 4 crosscoders 100%" in said
    folder = tmp_path / "sweep"
    for name, n, k in ((NAMES[0], "48", "4"), (NAMES[3], "64", "8")):
        alone, ours = tmp_path / "alone" / name, folder / name
        train([*run_settings, "--n-latents", n, "--k", k, "--out", str(alone), *cache])
        for file in ("crosscoder.safetensors", "metrics.jsonl", "config.json"):
            assert (ours / file).read_bytes() == (alone / file).read_bytes()
        figures = [json.loads((each / "metrics.json").read_text()) for each in (ours, alone)]
        timeless = [{key: value for key, value in each.items() if "second" not in key} for each in figures]
        assert timeless[0] == timeless[1]
        assert (ours / "report.html").stat().st_size > 10_000
        assert (ours / "dictionary_learning").is_dir()
    page = (folder / "sweep.html").read_text()
    assert [name for name in NAMES if name not in page] == []
    found = json.loads((folder / "sweep.json").read_text())["results"]
    assert found == {name: json.loads((folder / name / "metrics.json").read_text()) for name in NAMES}
    assert (folder / "figures" / "sweep_fve_by_l0.png").exists()
    assert Subject.open(FindingsConfig(run=folder / NAMES[1])).crosscoder.config.k == 8


def test_a_sweep_that_was_killed_goes_on(call: Call, arguments: list[str], tmp_path: Path) -> None:
    call("sweep.py", *arguments, "--out", tmp_path / "never stopped")
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen([sys.executable, str(RECIPE), *arguments], stdout=subprocess.DEVNULL, env=environment)
    records = tmp_path / "sweep" / "metrics.jsonl"
    while process.poll() is None and (not records.exists() or records.read_text().count("\n") < 4 * 12):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "sweep" / "sweep.html").exists()
    call("sweep.py", *arguments, "--resume")
    assert results(tmp_path / "sweep") == results(tmp_path / "never stopped")
    # ... and where it was stopped between two evaluations, only the second is done.
    done, missing = (tmp_path / "sweep" / name / "metrics.json" for name in NAMES[:2])
    before = done.stat().st_mtime_ns
    missing.unlink()
    call("sweep.py", *arguments, "--resume")
    assert missing.exists()
    assert done.stat().st_mtime_ns == before
    assert results(tmp_path / "sweep") == results(tmp_path / "never stopped")


def test_a_sweep_is_kept_and_resumed_as_it_was_begun(call: Call, arguments: list[str], tmp_path: Path) -> None:
    one = [*arguments, "--n-latents", "48", "--k", "4"]
    call("sweep.py", *one)
    assert "already holds a run: add --resume" in call("sweep.py", *one, code=2)
    said = call("sweep.py", *one, "--k", "4", "16", "--resume", code=2)
    assert "swept: " in said
    assert "[4, 16]" in said
    weights = tmp_path / "sweep" / NAMES[0] / "crosscoder.safetensors"
    before = weights.read_bytes()
    call("sweep.py", *one, "--overwrite", "--seed", "7")
    assert weights.read_bytes() != before


def test_values_that_cannot_be_combined_are_refused_before_anything_is_loaded(call: Call, tmp_path: Path) -> None:
    said = call("sweep.py", "--k", "8", "--sparsity", "l1", "--base", "/no/such", "--distilled", "/no", code=2)
    assert "--k: --sparsity l1 does not heed it; leave it out" in said
    assert "give --n-latents, --k or --sparsity-coefficient" in call("sweep.py", code=2)
