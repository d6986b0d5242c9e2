import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.experiments.reproduction.page import load_published
from toolkit.experiments.word_geometry import WordGeometryConfig
from toolkit.experiments.word_geometry.measure import WordGeometry, measure
from toolkit.experiments.word_geometry.page import page
from toolkit.models.pair import ModelPair
from toolkit.reports.files import write_results
from toolkit.reports.findings import Findings, Table
from toolkit.settings.models import ControlledModels


@pytest.fixture(scope="module")
def config(save_organism_model: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> WordGeometryConfig:
    words = tmp_path_factory.mktemp("words")
    pairs = [
        "dog,dogs",
        "cat,cats",
        "house,houses",
        "tree,trees",
        "book,books",
        "horse,horses",
        "bird,birds",
        "key,keys",
    ]
    (words / "singular-plural.csv").write_text("\n".join(pairs))
    (words / "few.csv").write_text("dog,cat")
    models = ControlledModels(pair="qwen-1.5b", control=save_organism_model(seed=3))
    return WordGeometryConfig(words=(str(words),), models=models, seed=3)


@pytest.fixture(scope="module")
def found(config: WordGeometryConfig, pair: ModelPair) -> WordGeometry:
    return measure(config, pair)


@pytest.fixture(scope="module")
def findings(config: WordGeometryConfig, pair: ModelPair, found: WordGeometry) -> Findings:
    return page(config, pair, found)


def table(findings: Findings, title: str) -> Table:
    (matching,) = (table for table in findings.tables if title in table.title)
    return matching


def test_the_gap_table_has_intervals_of_the_gap_and_its_change(findings: Findings, found: WordGeometry):
    gaps = table(findings, "Gap")
    differences = ("distilled − base", "distilled − control")
    assert gaps.columns == ("class", "base", "distilled", "control", *differences)
    (row,) = gaps.rows
    base, distilled, control = (geometry.by_dims[20] for geometry in found.classes["singular-plural"].values())
    assert row[1:4] == [base.gap_estimate, distilled.gap_estimate, control.gap_estimate]
    assert row[4:] == [distilled.gap_beyond(base), distilled.gap_beyond(control)]


def with_less_loss(found: WordGeometry, model: str) -> WordGeometry:
    """The same, but a model's words share a step far more clearly."""
    models = found.classes["singular-plural"]
    clear = {
        dims: replace(loss, loss=loss.loss - 1, without=loss.without - 1)
        for dims, loss in models["distilled"].by_dims.items()
    }
    changed = {**models, model: replace(models["distilled"], by_dims=clear)}
    return replace(found, classes={"singular-plural": changed})


def test_the_headline_counts_claims_that_show(config, pair, found: WordGeometry):
    counts = {each.name: each.value for each in page(config, pair, with_less_loss(found, "distilled")).headline}
    assert counts.keys() == {
        "share a step, base", "share a step, distilled", "distillation widens the gap", "distillation narrows the gap",
    }  # fmt: skip
    assert counts["share a step, distilled"] == 1
    assert (counts["distillation widens the gap"], counts["distillation narrows the gap"]) == (1, 0)
    both = with_less_loss(with_less_loss(found, "base"), "control")
    counts = {each.name: each.value for each in page(config, pair, both).headline}
    assert (counts["distillation widens the gap"], counts["distillation narrows the gap"]) == (0, 1)


def test_a_control_that_changed_alike_speaks_against_the_claim_that_distillation_changed_the_gap(
    config, pair, found: WordGeometry
):
    both = with_less_loss(with_less_loss(found, "distilled"), "control")
    verdicts = {each["claim"]: each["shows"] for each in page(config, pair, both).results["verdicts"]}
    assert verdicts["singular-plural: share a step, distilled"]
    assert not verdicts["singular-plural: distillation widens the gap"]
    without = {name: {model: of[model] for model in ("base", "distilled")} for name, of in both.classes.items()}
    verdicts = {
        each["claim"]: each["shows"] for each in page(config, pair, replace(both, classes=without)).results["verdicts"]
    }
    assert verdicts["singular-plural: distillation widens the gap"]


def test_claims_must_exceed_what_was_set_and_are_adjusted_together(config, pair, found: WordGeometry):
    findings = page(config, pair, with_less_loss(found, "distilled"))
    *steps, change = findings.claims
    assert len(steps) == 2  # a control is no claim of its own
    assert [margin.over for margin in change.margins] == ["gap in base", "gap in control"]
    assert {margin.least for claim in findings.claims for margin in claim.margins} == {0.05, 0.02}
    verdicts = {each["claim"]: each for each in findings.results["verdicts"]}
    assert all(each["p_adjusted"] >= each["p"] for each in verdicts.values())
    assert not verdicts["singular-plural: share a step, base"]["shows"]  # a gap of eight random pairs


def test_classes_left_out_are_listed(findings: Findings):
    assert table(findings, "Word pairs").rows == [["few", 1, 1, "too few"], ["singular-plural", 8, 8, 28]]


def test_published_losses_stand_beside_those_of_a_published_pair(config, pair, found: WordGeometry, findings: Findings):
    (row,) = table(findings, "published").rows
    theirs = load_published("parallelogram")["pairs"]["qwen-1.5b"]["singular-plural"]
    assert row[4:] == [theirs["base"]["20"], theirs["distilled"]["20"], 496]
    assert row[1] == found.classes["singular-plural"]["base"].by_dims[20].loss
    others = page(replace(config, models=ControlledModels()), pair, found)
    assert not any("published" in each.title for each in others.tables)


def test_results_are_json(findings: Findings, found: WordGeometry, tmp_path: Path):
    write_results(tmp_path / "results.json", findings.results)
    results = json.loads((tmp_path / "results.json").read_text())
    base = results["classes"]["singular-plural"]["models"]["base"]
    assert base["dims"].keys() == {"2", "5", "10", "20"}
    assert base["dims"]["2"]["mean"]["value"] == found.classes["singular-plural"]["base"].by_dims[2].loss
    assert base["dims"]["2"]["n_quadruples"] == 28
    assert len(base["quantiles"]) == 101
    assert results["words"]["few"] == {"given": 1, "pairs": 1}


def test_facts_say_how_words_were_read(config, pair, found: WordGeometry, findings: Findings):
    assert findings.facts["before a word"] == repr(found.prefix)
    paper = page(config, pair, replace(found, prefix=None))
    assert paper.facts["before a word"] == "nothing: the word is at position 0"


def test_the_chart_shows_both_models(findings: Findings, tmp_path: Path):
    (chart,) = findings.charts
    chart.figure.savefig(tmp_path / "cdf.png")
    labels = {line.get_label() for line in chart.figure.axes[0].lines}
    assert {"base", "distilled", "shuffled pairs"} <= labels


def test_any_number_of_named_models_is_compared_with_the_one_examined(
    config: WordGeometryConfig, pair: ModelPair, found: WordGeometry
):
    names = {"base": "teacher", "distilled": "student", "control": "later"}
    classes = {name: {names[model]: each for model, each in of.items()} for name, of in found.classes.items()}
    classes = {name: of | {"last": of["teacher"]} for name, of in classes.items()}
    findings = page(config, pair, replace(found, classes=classes))
    differences = ("student − teacher", "student − later", "student − last")
    assert table(findings, "Gap").columns == ("class", "teacher", "student", "later", "last", *differences)
    assert table(findings, "Parallelogram loss in the last model").rows
    changes = findings.results["classes"]["singular-plural"]["gap_change"]
    assert list(changes) == ["teacher", "later", "last"]
    assert changes["last"] == changes["teacher"]
