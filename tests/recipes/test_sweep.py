"""Crosscoders trained together are those trained alone, and a sweep stopped at any moment ends alike."""

import json
import runpy
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from rank_processes import call_recipe, start
from torch.multiprocessing.spawn import ProcessExitedException

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.run import Run
from toolkit.experiments.sweep import parse_sweep

Call = Callable[..., str]
Train = Callable[[list[str]], None]
RECIPE = Path(__file__).parents[2] / "recipes" / "sweep.py"
NAMES = ["n-latents-48_k-8", "n-latents-64_k-8"]


@pytest.fixture(scope="module")
def settings(run_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A sweep of two crosscoders of 40 steps, the second of which is that of `run_settings`; but for its folder."""
    cache = tmp_path_factory.mktemp("swept") / "cache"
    return [*run_settings, "--k", "8", "--n-latents", "48", "64", "--cache", str(cache)]


@pytest.fixture(scope="module")
def swept(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that sweep, never stopped; `said` in it is what the recipe said."""
    folder = tmp_path_factory.mktemp("swept") / "sweep"
    folder.mkdir()
    with (folder / "said").open("w") as said, redirect_stdout(said):
        config = parse_sweep([*settings, "--export", "dictionary_learning", "--out", str(folder)])
        run_recipe(runpy.run_path(str(RECIPE))["main"], lambda _: config)
    return folder


def results(folder: Path) -> list[bytes]:
    files = ("crosscoder.safetensors", "metrics.jsonl")
    return [(folder / name / file).read_bytes() for name in NAMES for file in files]


def test_each_is_the_crosscoder_that_is_trained_alone(
    train: Train, swept: Path, settings: list[str], trained: Path, run_settings: list[str], tmp_path: Path
) -> None:
    train([*run_settings, "--n-latents", "48", *settings[-2:], "--out", str(tmp_path / NAMES[0])])
    for alone, name in ((tmp_path / NAMES[0], NAMES[0]), (trained, NAMES[1])):
        ours = swept / name
        for file in ("crosscoder.safetensors", "metrics.jsonl"):
            assert (ours / file).read_bytes() == (alone / file).read_bytes()
        figures = [json.loads((each / "metrics.json").read_text()) for each in (ours, alone)]
        timeless = [{key: value for key, value in each.items() if "second" not in key} for each in figures]
        assert timeless[0] == timeless[1]
        assert (ours / "report.html").stat().st_size > 10_000
        assert (ours / "dictionary_learning").is_dir()
    assert (swept / NAMES[0] / "config.json").read_bytes() == (tmp_path / NAMES[0] / "config.json").read_bytes()
    assert Run.open(swept / NAMES[1]).crosscoder.config.n_latents == 64


def test_the_page_shows_them_all(swept: Path) -> None:
    assert "training 2 crosscoders 100%" in (swept / "said").read_text()
    page = (swept / "sweep.html").read_text()
    assert [name for name in NAMES if name not in page] == []
    found = json.loads((swept / "sweep.json").read_text())["results"]
    assert found == {name: json.loads((swept / name / "metrics.json").read_text()) for name in NAMES}
    assert (swept / "figures" / "sweep_fve_by_l0.png").exists()


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on(call: Call, settings: list[str], swept: Path, tmp_path: Path) -> None:
    arguments, records = [*settings, "--out", str(tmp_path / "sweep")], tmp_path / "sweep" / "metrics.jsonl"
    context = start(1, call_recipe, RECIPE, arguments, tmp_path / "said")
    [process] = context.processes
    while process.is_alive() and (not records.exists() or records.read_text().count("\n") < 2 * 12):
        time.sleep(0.01)
    process.kill()
    with pytest.raises(ProcessExitedException) as killed:
        context.join()
    assert killed.value.exit_code == -signal.SIGKILL
    assert not (tmp_path / "sweep" / "sweep.html").exists()
    call("sweep.py", *arguments, "--resume")
    assert results(tmp_path / "sweep") == results(swept)
    # ... and where it was stopped between two evaluations, only the second is done.
    done, missing = (tmp_path / "sweep" / name / "metrics.json" for name in NAMES)
    before = done.stat().st_mtime_ns
    missing.unlink()
    call("sweep.py", *arguments, "--resume")
    assert missing.exists()
    assert done.stat().st_mtime_ns == before
    assert results(tmp_path / "sweep") == results(swept)


def test_a_sweep_is_kept_resumed_or_replaced_as_a_whole(
    call: Call, settings: list[str], swept: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(swept, tmp_path / "sweep")
    arguments = [*settings, "--out", folder]
    assert "already holds a run: add --resume" in call("sweep.py", *arguments, code=2)
    said = call("sweep.py", *arguments, "--n-latents", "48", "16", "--resume", code=2)
    assert "swept: " in said
    assert "[48, 16]" in said
    (folder / "another").mkdir()
    cache = ["--cache", tmp_path / "cache"]
    call("sweep.py", *arguments, *cache, "--n-latents", "48", "--overwrite", "--seed", "7")
    weights = [(each / NAMES[0] / "crosscoder.safetensors").read_bytes() for each in (folder, swept)]
    assert weights[0] != weights[1]
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {NAMES[0], "another", "checkpoints", "figures"}


def test_values_that_cannot_be_combined_are_refused_before_anything_is_loaded(call: Call, tmp_path: Path) -> None:
    said = call("sweep.py", "--k", "8", "--sparsity", "l1", "--base", "/no/such", "--distilled", "/no", code=2)
    assert "--k: --sparsity l1 does not use it; leave it out" in said
    assert "give --n-latents, --k or --sparsity-coefficient" in call("sweep.py", code=2)
