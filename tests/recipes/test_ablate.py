"""The ablation recipe as a user starts it, on a freshly trained tiny crosscoder."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tyro

from toolkit.findings.ablation import AblationConfig
from toolkit.runs.command_line import run_main

RECIPE = Path(__file__).parents[2] / "recipes" / "ablate.py"
Main = Callable[[list[str]], None]


@pytest.fixture(scope="module")
def main() -> Main:
    """The recipe in this process; a failure is a `SystemExit`."""
    spec = importlib.util.spec_from_file_location("ablate", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    options = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    return lambda arguments: run_main(lambda: recipe.main(tyro.cli(AblationConfig, args=arguments, config=options)))


@pytest.fixture
def arguments(train: Main, run_arguments: list[str], tmp_path: Path) -> list[str]:
    """Of a run on a freshly trained crosscoder of 64 latents."""
    train(run_arguments)
    lexicon = tmp_path / "words.json"
    lexicon.write_text('{"pause": ["First"], "turn": ["is", "The"]}')
    return [
        *("--run", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--lexicon", str(lexicon)),
        *("--tokens", "6000", "--targets", "200", "--shares", "0.1", "0.2", "--reference", "0.2"),
        *("--undecided", "0", "1", "--min-nrn", "0", "--control-draws", "1"),
    ]


def test_a_crosscoder_becomes_effects(
    main: Main, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    main(arguments)
    said = capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "ablation.json").read_text())
    results = content["results"]["ablation"]
    assert list(results) == ["pause", "turn"]
    assert results["pause"]["n"] == results["pause"]["found"] < 200
    assert f"pause: {results['pause']['n']} positions found of the 200 asked for" in " ".join(said.split())
    assert all(len(line) <= 80 for line in said.splitlines() if str(tmp_path) not in line)
    assert (tmp_path / "out" / "ablation.html").read_text().startswith("<!doctype html>")
    assert len(list((tmp_path / "out" / "figures").glob("ablation_*.png"))) == 5


def test_mistakes_end_with_what_to_do(main: Main, arguments: list[str], tmp_path: Path, capsys) -> None:
    def error(*changes: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, *changes])
        assert stopped.value.code == 2
        return " ".join(capsys.readouterr().err.split())

    assert "reference share 0.3 is not among the shares" in error("--reference", "0.3")
    assert "share 1.5 of the latents" in error("--shares", "1.5", "--reference", "1.5")
    assert "--targets 0" in error("--targets", "0")
    assert "give two rising probabilities" in error("--undecided", "0.9", "0.1")
    assert "raise --tokens or widen --undecided" in error("--undecided", "0.99", "1")
    assert "lower --min-nrn" in error("--min-nrn", "1.0")
    (tmp_path / "none.json").write_text('{"odd": ["antidisestablishment"]}')
    assert "give other words with --lexicon" in error("--lexicon", str(tmp_path / "none.json"))
    assert "cannot be read" in error("--lexicon", str(tmp_path / "missing.json"))
    assert "--other-models" in error("--pair", "organism") or "width" in error("--pair", "organism")
