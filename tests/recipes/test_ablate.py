"""The ablation recipe as a user starts it, on a tiny crosscoder."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., str]


@pytest.fixture
def ablate(call: Call, trained: Path, tmp_path: Path) -> Call:
    """Run the recipe on the tiny run, perhaps to an error."""
    lexicon = tmp_path / "words.json"
    lexicon.write_text('{"pause": ["First"], "turn": ["is", "The"]}')
    given = [
        *("--run", trained, "--out", tmp_path / "out", "--lexicon", lexicon),
        *("--tokens", "6000", "--targets", "200", "--shares", "0.1", "0.2", "--reference", "0.2"),
        *("--undecided", "0", "1", "--min-nrn", "0", "--least-lift", "0", "--control-draws", "1"),
    ]
    return lambda *changes, code=None: call("ablate.py", *given, *changes, code=code)


def test_a_crosscoder_becomes_effects(ablate: Call, tmp_path: Path) -> None:
    said = ablate()
    content = json.loads((tmp_path / "out" / "ablation.json").read_text())
    results = content["results"]["ablation"]
    assert list(results) == ["pause", "turn"]
    assert results["pause"]["n"] == results["pause"]["found"] < 200
    assert f"pause: {results['pause']['n']} positions found of the 200 asked for" in said
    assert (tmp_path / "out" / "ablation.html").read_text().startswith("<!doctype html>")
    assert len(list((tmp_path / "out" / "figures").glob("ablation_*.png"))) == 6


@pytest.mark.slow
def test_mistakes_end_with_what_to_do(ablate: Call, tmp_path: Path) -> None:
    def error(*changes: object) -> str:
        return ablate(*changes, code=2)

    assert "reference share 0.3 is not among the shares" in error("--reference", "0.3")
    assert "share 1.5 of the latents" in error("--shares", "1.5", "--reference", "1.5")
    assert "targets 0" in error("--targets", "0")
    assert "--paper sets --positions to prefix, and all is given" in error("--paper", "--positions", "all")
    assert "give two rising probabilities" in error("--undecided", "0.9", "0.1")
    assert "read more text, or widen undecided" in error("--undecided", "0.99", "1")
    assert "lower min_nrn" in error("--min-nrn", "1.0")
    (tmp_path / "none.json").write_text('{"odd": ["antidisestablishment"]}')
    assert "give other words" in error("--lexicon", tmp_path / "none.json")
    assert "cannot be read" in error("--lexicon", tmp_path / "missing.json")
    assert "trained on width 16, the models artifacts/organism/base" in error("--pair", "organism")
