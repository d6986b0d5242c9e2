"""The reproduction as a user starts it, with little of everything, on the tiny run."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from toolkit.experiments.reproduction import ReproductionConfig, measure
from toolkit.experiments.reproduction.measure import experiments
from toolkit.experiments.steering import SteeringConfig

COLOURS = ["red,blue", "green,black", "white,brown", "yellow,pink", "gray,purple", "blue,gold", "brown,gray"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frequent words as categories, pairs of single tokens, and six questions."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "words.json").write_text('{"self-reflection": ["is", "wait"], "deductive": ["the", "it"]}')
    (folder / "colours.csv").write_text("\n".join([*COLOURS, "orange,red"]))
    lines = (json.dumps({"question": f"{i}+{i}?", "answer": str(2 * i)}) for i in range(6))
    (folder / "questions.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all calls write to, one after the other."""
    return tmp_path_factory.mktemp("reproduction")


@pytest.fixture(scope="module")
def control(save_organism_model: Callable[..., str]) -> str:
    """A model that is neither base nor distilled."""
    return save_organism_model(seed=77)


@pytest.fixture
def reproduce(
    call: Callable[..., str], trained: Path, words: Path, control: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run the recipe with little of everything, also of what its command line does not set."""
    monkeypatch.setattr(measure, "CANDIDATES", 2)
    monkeypatch.setattr(measure, "PAPER_TARGETS", 12)
    monkeypatch.setattr(measure, "SteeringConfig", partial(SteeringConfig, new_tokens=16))
    given = [
        *("--run", trained, "--data", "organism", "--out", out, "--control", control),
        *("--tokens", "4000", "--undecided", "0", "1", "--development", "2", "--test", "5"),
        *("--lexicon", words / "words.json", "--words", words / "colours.csv"),
        *("--questions", words / "questions.jsonl"),
    ]
    return lambda *changes: call("reproduce_paper.py", *given, *changes)


@pytest.mark.slow
def test_every_experiment_is_in_the_results(reproduce: Callable[..., str], out: Path) -> None:
    said = reproduce()
    tmp_path = out
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["ablation"].keys() == results["ablation_paper"].keys() == {"self-reflection", "deductive"}
    for found in (*results["ablation"].values(), *results["ablation_paper"].values()):
        for name in ("distilled", "base", "control_distilled"):
            assert found[name] == found["intervals"][name]["value"]
        assert 0 < found["n_documents"] <= found["n"] <= 100
    assert all(found["n"] <= 12 for found in results["ablation_paper"].values())
    assert results["off_target"]["deductive on other words"]["base"].keys() >= {"value", "low", "high"}
    assert results["steering"].keys() == {"self-reflection", "deductive"}
    for arms in results["steering"].values():
        assert [arm["strength"] for arm in arms] == [-0.2, -0.1, 0, 0.1, 0.2]
        for arm in arms:
            assert arm.keys() >= {"length", "accuracy", "hesitation_per_1k", "n"}
            assert arm["length"] == arm["intervals"]["length"]["value"] > 0
    assert results["geometry"].keys() == {"colours"}
    for found in results["geometry"]["colours"].values():
        assert found["mean"].keys() == found["gap"].keys() == {"value", "low", "high"}
        assert (found["n_pairs"], found["n_quadruples"]) == (8, 28)
    assert results["geometry"]["colours"].keys() == {"base", "distilled", "control"}
    assert results["nrn"].keys() == {
        "value", "low", "high", "note", "activation_weighted", "neutral", "training_units",
    }  # fmt: skip
    assert {found["behaviour"] for found in results["reconstruction"]["behaviours"]} >= {"verification"}
    for name in ("reconstruction", "latent_classes", "ablation", "ablation_paper", "steering", "comparison"):
        assert (tmp_path / f"{name}.html").read_text().startswith("<!doctype html>")
    comparison = (tmp_path / "comparison.html").read_text()
    assert comparison.count("<figure>") == len(list((tmp_path / "figures").glob("*.png")))
    assert "ablation, the paper&#39;s way: Change of the word" in comparison
    assert "4 others to test them (5 were asked for" in comparison
    assert "7 of 7: layer divergence" in said
    assert results["left_out"] == {}
    for name in ("ablation", "ablation, the paper's way"):
        for of_seeds in results["seeds"][name].values():
            (of_seed,) = of_seeds.values()
            assert of_seed.keys() >= {"distilled", "base", "control_distilled", "best", "latents"}
    assert results["seeds"]["ablation"].keys() == results["ablation"].keys()
    (of_seed,) = results["seeds"]["reconstruction"].values()
    assert of_seed["l0"] == results["reconstruction"]["l0"]
    assert of_seed["behaviours"]["verification"]["latent"] >= 0
    assert results["verdicts"].keys() >= {"reconstruction: verification spans, one latent"}
    for verdict in results["verdicts"].values():
        assert 0 <= verdict["p"] <= verdict["p_adjusted"] <= 1
        assert verdict["shows"] == (verdict["p_adjusted"] < 0.05)


@pytest.mark.slow
def test_a_call_again_takes_up_what_is_finished(reproduce: Callable[..., str], out: Path) -> None:
    """After the first call; a run that was killed in the fourth part lacks it, and what comes of all."""
    before = json.loads((out / "results.json").read_text())
    page, svg = (out / "comparison.html").read_text(), re.compile(r"<svg.*?</svg>", re.DOTALL)
    for gone in ("results.json", "comparison.html", "parts/geometry.json"):
        (out / gone).unlink()
    said = reproduce()
    assert said.count("finished by an earlier call") == 6
    assert "6 of 7: geometry" in said
    assert "6 of 7: geometry: finished" not in said
    again = json.loads((out / "results.json").read_text())
    assert again | {"provenance": 0} == before | {"provenance": 0}
    assert svg.findall((out / "comparison.html").read_text()) == svg.findall(page)


@pytest.mark.slow
def test_a_part_that_finds_nothing_is_left_out_and_the_others_are_compared(
    reproduce: Callable[..., str], words: Path, out: Path
) -> None:
    """After the calls before, so that only geometry is measured."""
    (words / "one.csv").write_text("red,blue")
    said = reproduce("--words", words / "one.csv")
    assert said.count("finished by an earlier call") == 6
    assert "found again, for" in said
    assert "settings.words" in said
    assert "warning: geometry is left out: one: of 1 of 1 pairs" in said
    results = json.loads((out / "results.json").read_text())
    assert "geometry" not in results
    assert list(results["left_out"]) == ["geometry"]
    assert results["ablation"]
    assert "one: of 1 of 1 pairs" in (out / "comparison.html").read_text()


def test_settings_that_one_experiment_refuses_are_refused_before_the_first(tmp_path: Path) -> None:
    assert len(experiments(ReproductionConfig())) == 7
    for bad in ({"tokens": 0}, {"test": 1}, {"development": 0}):
        (name,) = bad
        with pytest.raises(ValueError, match=f"{name} {bad[name]}: must be at least"):
            experiments(ReproductionConfig(**bad))
