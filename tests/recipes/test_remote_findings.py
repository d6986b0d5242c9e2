"""Every experiment on NDIF ends in the numbers of one on this machine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comparing import same

from toolkit.outputs import MANIFEST

QUICK = {
    "ablate.py": "--tokens 2000 --targets 5 --shares .05 .3 --reference .3 --control-draws 1 --min-nrn 0"
    " --least-lift 0 --undecided .0001 .9",
    "classify_latents.py": "--tokens 2000",
    "steer.py": "--tokens 1000 --new-tokens 8 --development 2 --test 3 --candidates 2 --strengths -1 1 --category sums",
    "top_examples.py": "--tokens 1000 --top 3 --sampled 4",
}
TAKES_MODELS = {
    "geometry.py": "",
    "layer_divergence.py": "--tokens 500",
}


@pytest.fixture
def both(call: Callable[..., str], ndif: Any, tmp_path: Path) -> Callable[..., None]:
    """Run a recipe here and on NDIF, and compare the JSON of results that they leave."""

    def run(recipe: str, *arguments: object) -> None:
        call(recipe, *arguments, "--out", tmp_path / "here")
        before = len(ndif.jobs_done)
        call(recipe, *arguments, "--out", tmp_path / "there", "--remote", "--wire", "fp32")
        assert len(ndif.jobs_done) > before
        paths = sorted(path for path in (tmp_path / "here").glob("*.json") if path.name != MANIFEST)
        assert paths
        for path in paths:
            here, there = (json.loads((tmp_path / side / path.name).read_text()) for side in ("here", "there"))
            same(here.get("results", here), there.get("results", there), path.name)

    return run


@pytest.mark.parametrize("recipe", QUICK)
def test_a_crosscoders_findings(
    both: Callable[..., None], trained: Path, text_file: Path, lexicon: Path, recipe: str
) -> None:
    both(recipe, "--run", trained, "--data", text_file, "--lexicon", lexicon, *QUICK[recipe].split())


@pytest.mark.parametrize("recipe", TAKES_MODELS)
def test_a_pairs_findings(
    both: Callable[..., None], organism_folders: tuple[str, str], organism_control: str, text_file: Path, recipe: str
) -> None:
    base, distilled = organism_folders
    models = ("--base", base, "--distilled", distilled, "--control", organism_control)
    text = ("--data", text_file) if recipe == "layer_divergence.py" else ()
    both(recipe, *models, *text, *TAKES_MODELS[recipe].split())


def test_the_evaluation_of_reasoning(
    both: Callable[..., None],
    organism_folders: tuple[str, str],
    organism_control: str,
    trained: Path,
    tmp_path: Path,
) -> None:
    base, distilled = organism_folders
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(f'{{"question": "What is {i}+{i}?", "answer": {2 * i}}}\n' for i in range(3)))
    models = ("--base", base, "--distilled", distilled, "--control", organism_control, "--crosscoder", trained)
    arms = ("distilled", "base", "control", "distilled + steer 3 0.5", "distilled + random 0 0.5")
    both("evaluate_reasoning.py", *models, "--problems", problems, "--new-tokens", 8, "--arms", *arms)


def test_the_evaluation_of_tokenizers(both: Callable[..., None], organism_folders: tuple[str, str]) -> None:
    both("evaluate_tokenizers.py", "--models", *organism_folders, "--documents", 5)
