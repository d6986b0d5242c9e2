"""The stitching recipe, as a user starts it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., str]
QUICK = "--tokens 1500 --documents 12 --seeds 1 --steps 4 --n-problems 2 --new-tokens 8 --data organism".split()


@pytest.fixture
def models(organism_folders: tuple[str, str]) -> list[str]:
    base, distilled = organism_folders
    return ["--base", base, "--distilled", distilled]


@pytest.mark.slow
def test_every_number_stands_in_one_form_for_all_runs(
    call: Call, models: list[str], organism_control: str, lexicon: Path, tmp_path: Path
) -> None:
    given = ("--problems", "organism", "--cuts", "1", "2", "--control", organism_control, "--lexicon", lexicon)
    said = call("stitch.py", *models, *QUICK, *given, "--out", tmp_path)
    assert "KL, base → distilled" in said
    results = json.loads((tmp_path / "results.json").read_text())
    excess = results["excess_ce"]
    assert excess.keys() == {"base_to_distilled", "distilled_to_base", "self", "self_base", "base_to_control"}
    assert excess["base_to_distilled"].keys() == {"1", "2"}
    assert {"identity", "mean_shift", "orthogonal", "ridge"} <= excess["base_to_distilled"]["1"].keys()
    assert [excess["self"][cut]["identity"]["value"] for cut in ("1", "2")] == [0, 0]
    assert (tmp_path / "figures" / "stitching_kl_by_cut.png").stat().st_size > 10_000
    assert (tmp_path / "stitching.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cuts", "9"], "layer 9 is out of range: the model has 3 decoder layers"),
        (["--cuts", "-1"], "cuts -1: give a layer, from 0 on"),
        (["--documents", "3"], "documents 3: an interval needs at least 8"),
        (["--steps", "0", "--maps", "trained"], "no map is left to try"),
        (["--problems", "/no/such.jsonl"], "/no/such.jsonl"),
    ],
)
def test_bad_input_ends_the_recipe_with_one_message(
    call: Call, models: list[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    said = call("stitch.py", *models, *QUICK, *arguments, "--out", tmp_path / "out", code=2)
    assert message in said
    assert "Traceback" not in said
