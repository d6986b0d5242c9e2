"""Two processes that share the layers of both models: recipes end as with whole layers, and one process speaks."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from comparing import assert_close, same
from rank_processes import in_two
from split_models import needs_traceable_parts
from torch.multiprocessing.spawn import ProcessException


@pytest.fixture(scope="module")
def settings(save_organism_model: Callable[..., str], run_settings: list[str]) -> list[str]:
    """A command line for a run on models that can be split in two."""
    base, distilled = (save_organism_model(seed, num_key_value_heads=2) for seed in (1, 2))
    return [*run_settings, "--base", base, "--distilled", distilled]


@needs_traceable_parts
def test_training_and_ablation_end_as_with_whole_layers(
    settings: list[str], call: Callable[..., str], text_file: Path, lexicon: Path, tmp_path: Path
) -> None:
    whole, split = tmp_path / "whole", tmp_path / "split"
    call("train_crosscoder.py", *settings, "--out", whole)
    first, second = in_two("train_crosscoder.py", tmp_path, *settings, "--tensor-parallel", "--out", split)
    assert "Crosscoder on" in first
    assert "each layer split over 2 processes" in " ".join(first.replace("│", " ").split())
    assert second == ""
    assert_close(whole, split)

    found = ("--run", whole, "--data", text_file, "--lexicon", lexicon, "--tokens", 2000, "--targets", 5)
    found += (
        "--shares",
        0.3,
        "--reference",
        0.3,
        "--control-draws",
        1,
        "--min-nrn",
        0,
        "--least-lift",
        0,
        "--undecided",
        0.0001,
        0.9,
    )
    call("ablate.py", *found, "--out", whole / "ablation")
    in_two("ablate.py", tmp_path, *found, "--tensor-parallel", "--out", split / "ablation")
    here, there = (
        json.loads((folder / "ablation" / "ablation.json").read_text())["results"] for folder in (whole, split)
    )
    same(here, there, "ablation.json")


def test_models_that_cannot_be_split_are_told_once(run_settings: list[str], tmp_path: Path) -> None:
    with pytest.raises(ProcessException):
        in_two("train_crosscoder.py", tmp_path, *run_settings, "--tensor-parallel", "--out", tmp_path / "run")
    said = "".join(path.read_text() for path in tmp_path.glob("said-*"))
    assert said.count("cannot be split (too few heads, or no plan), and these are 2 processes") == 1


def test_one_process_is_told_how_to_start_several(
    run_settings: list[str], call: Callable[..., str], tmp_path: Path
) -> None:
    said = call("train_crosscoder.py", *run_settings, "--tensor-parallel", "--out", tmp_path / "run", code=2)
    assert "this is one: start them with `torchrun --nproc-per-node 2 -- " in said
