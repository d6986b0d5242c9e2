"""Our numbers beside the published ones."""

from typing import Any

from toolkit.experiments.reproduction.page import load_published, published_tables
from toolkit.statistics.estimates import Estimate

MODELS = ("base", "distilled")


def ours() -> dict[str, Any]:
    intervals = {"base": Estimate(-0.6, -0.7, -0.5), "distilled": Estimate(-2.0, -2.5, -1.5)}
    return {
        "reconstruction": {"l0": 20.0},
        "nrn": {"value": 0.5, "low": 0.4, "high": 0.6, "neutral": 0.484},
        "geometry": {"singular-plural": {model: {"mean": Estimate(0.7, 0.6, 0.8)} for model in MODELS}},
        "ablation_paper": {"deductive": {"share": 0.02, "intervals": intervals}},
    }


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
