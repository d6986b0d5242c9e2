"""What shows and what does not, on either side of every threshold."""

from typing import Any

import pytest

from toolkit.experiments.reproduction.page import NO, YES, load_published, published_tables, truth_tables
from toolkit.statistics.estimates import Estimate


def ablated(**changes: Any) -> dict[str, Any]:
    """Words that fall by just enough, and a control that falls by just less."""
    given = {"distilled": Estimate(-2.0, -2.5, -1.5), "control": Estimate(-0.5, -1.4, 0.1), "base": -0.6} | changes
    intervals = {
        "distilled": given["distilled"],
        "control_distilled": given["control"],
        "base": Estimate(given["base"], given["base"] - 0.1, given["base"] + 0.1),
    }
    return {"base": given["base"], "n": 40, "share": 0.02, "intervals": intervals}


def steered(toward: str, slope: float, better: Estimate) -> dict[str, Any]:
    ends = {"slope": Estimate(slope, slope - 1, slope + 1), "random_slope": Estimate(0.1, 0.0, 0.2)}
    return ends | {"slope_minus_random": better, "toward": toward, "n": 12}


def loss(gap: Estimate) -> dict[str, Any]:
    return {"mean": Estimate(0.6, 0.5, 0.7), "shuffled": Estimate(0.9, 0.8, 1.0), "gap": gap, "n_pairs": 24}


def results(**changes: Any) -> dict[str, Any]:
    """What every experiment finds where all that was planted shows."""
    gap = Estimate(0.3, 0.2, 0.4)
    behaviour = {"behaviour": "contrast", "auroc": 0.9, "low": 0.8, "high": 0.95, "control_auroc": 0.6, "n_tokens": 70}
    found: dict[str, Any] = {
        "reconstruction": {"behaviours": [behaviour | changes.pop("behaviour", {})], "l0": 20.0},
        "ablation": {"contrastive": ablated()},
        "steering_against_chance": {"contrastive": steered("longer", 1.0, Estimate(0.5, 0.1, 0.9))},
        "geometry": {"antonym": {"base": loss(gap), "distilled": loss(gap)}},
    }
    return found | changes


def shown(found: dict[str, Any]) -> dict[str, Any]:
    (table,) = truth_tables(found)
    return {str(row[0]): row[-1] for row in table.rows}


def test_everything_planted_has_a_row():
    assert shown(results()) == dict.fromkeys(
        ("contrast spans", "contrastive words", "contrastive steers longer", "antonym pairs, base",
         "antonym pairs, distilled"), YES,
    )  # fmt: skip
    (table,) = truth_tables(results())
    assert table.note.startswith("5 of 5 show.")
    assert "top 2" in table.note
    assert table.rows[-1][-2] == 24


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, YES),
        ({"distilled": Estimate(-1.99, -2.5, -1.5)}, NO),
        ({"base": -0.66}, YES),
        ({"base": -0.67}, NO),
        ({"base": 5.0}, YES),
        ({"control": Estimate(-0.5, -1.5, 0.1)}, NO),
        ({"control": Estimate(-0.5)}, NO),
    ],
)
def test_words_must_fall_far_and_farther_than_both_controls(changes: dict[str, Any], verdict: str):
    assert shown(results(ablation={"words": ablated(**changes)}))["words words"] == verdict


@pytest.mark.parametrize(
    ("toward", "slope", "better", "verdict"),
    [
        ("longer", 1.0, Estimate(0.5, 0.01, 0.9), YES),
        ("longer", 1.0, Estimate(0.5, 0.0, 0.9), NO),
        ("longer", -1.0, Estimate(0.5, 0.01, 0.9), NO),
        ("shorter", -1.0, Estimate(0.5, 0.01, 0.9), YES),
        ("shorter", 1.0, Estimate(0.5, 0.01, 0.9), NO),
        ("longer", 1.0, Estimate(float("nan")), NO),
    ],
)
def test_a_latent_must_beat_chance_the_wanted_way(toward: str, slope: float, better: Estimate, verdict: str):
    found = results(steering_against_chance={"doubt": steered(toward, slope, better)})
    assert shown(found)[f"doubt steers {toward}"] == verdict


def test_word_pairs_are_tested_in_both_models():
    geometry = {"antonym": {"base": loss(Estimate(0.1, 0.0, 0.2)), "distilled": loss(Estimate(0.1, 0.01, 0.2))}}
    found = shown(results(geometry=geometry))
    assert (found["antonym pairs, base"], found["antonym pairs, distilled"]) == (NO, YES)


def test_a_behaviour_must_be_found_better_than_another_documents():
    assert shown(results(behaviour={"low": 0.6}))["contrast spans"] == NO
    assert shown(results(behaviour={"low": 0.61}))["contrast spans"] == YES


def ours() -> dict[str, Any]:
    nrn = {"value": 0.5, "low": 0.4, "high": 0.6, "neutral": 0.484}
    geometry = {"singular-plural": {model: {"mean": Estimate(0.7, 0.6, 0.8)} for model in ("base", "distilled")}}
    return results() | {"nrn": nrn, "geometry": geometry, "ablation_paper": {"deductive": ablated()}}


def test_published_numbers_stand_beside_those_of_their_own_pair():
    ablation = load_published("ablation")
    *_, last = published_tables(ablation["pair"], ours())
    assert last.title.startswith("Ablation, the paper's protocol, top 2")
    theirs = ablation["categories"]["deductive"]["2 %"]["selected"]
    ((name, base, their_base, distilled, their_distilled),) = last.rows
    assert (name, base.value, distilled.value) == ("deductive", -0.6, -2.0)
    assert (their_base, their_distilled) == (theirs["base"], theirs["distilled"])
    titles = [table.title for table in published_tables("qwen-1.5b", ours())]
    assert [title.split(",")[0].split(":")[0] for title in titles] == ["Reconstruction", "Parallelogram loss"]
    assert published_tables(None, ours()) == []


def test_tables_without_rows_are_left_out():
    other_words = ours() | {"geometry": {"own words": {}}}
    assert not [table for table in published_tables("qwen-1.5b", other_words) if "Parallelogram" in table.title]
