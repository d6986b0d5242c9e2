"""The page says what was measured, and where harmonic probes are no better."""

import json
from dataclasses import replace

import pytest

from toolkit.experiments.harmonic_probes import CentreSteering, HarmonicProbesConfig
from toolkit.experiments.harmonic_probes.claims import WORSE, claims
from toolkit.experiments.harmonic_probes.headlines import probe_headlines
from toolkit.experiments.harmonic_probes.measure import Measured, measure
from toolkit.experiments.harmonic_probes.page import page
from toolkit.experiments.harmonic_probes.tables import data_table, no_better, probes_table
from toolkit.reports.findings import Findings
from toolkit.statistics.estimates import Estimate

LABELS = ("next_is_hesitation", "behaviour")


@pytest.fixture(scope="module")
def settings(asked: HarmonicProbesConfig, tmp_path_factory: pytest.TempPathFactory) -> HarmonicProbesConfig:
    questions = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    questions.write_text(
        "".join(json.dumps({"question": f"What is {i}+{i}?", "answer": 2 * i}) + "\n" for i in range(12))
    )
    steering = CentreSteering(
        questions=questions, development=2, test=10, random=2, strengths=(-1.0, 1.0), new_tokens=8
    )
    return replace(asked, lattice_steps=5, lattice_seeds=2, steering=steering)


@pytest.fixture(scope="module")
def found(settings, pair, probed) -> Measured:
    with pytest.MonkeyPatch.context() as once:
        once.setattr("toolkit.experiments.harmonic_probes.measure.probe", lambda *_: probed)  # fitted before
        return measure(settings, pair)


@pytest.fixture(scope="module")
def findings(settings, pair, found) -> Findings:
    return page(settings, pair, found)


def test_the_results_have_the_numbers_by_label_layer_and_model(findings, tmp_path):
    findings.save(tmp_path)
    results = json.loads((tmp_path / "harmonic_probes.json").read_text())["results"]
    assert results["probes"].keys() == set(LABELS)
    for by_layer in results["probes"].values():
        assert by_layer.keys() == {"0", "1"}
        assert {"logistic", "harmonic", "n"} <= by_layer["1"]["distilled"].keys()
    assert results["lattice"].keys() >= {"harmonic", "cross_entropy"}
    assert results["steering"]["toward"] == "hesitation"
    assert results["steering"]["ways"]["from centre to centre"]["by_strength"].keys() == {"-1", "+1"}


def test_there_is_a_table_for_each_label_and_a_figure_for_each_part(findings):
    titles = [table.title for table in findings.tables]
    assert [f"{name}: balanced accuracy by layer" in titles for name in LABELS] == [True, True]
    assert [chart.name for chart in findings.charts] == [
        "accuracy_by_layer", "accuracy_by_tokens", "steering", "lattice",
    ]  # fmt: skip


def test_every_way_stands_beside_the_random_direction_and_unsteered_answers(findings, found):
    [table] = [each for each in findings.tables if each.title.startswith("Steering")]
    assert [row[0] for row in table.rows] == [
        "from centre to centre", "to the centre itself", "logistic direction", "class means",
        "the best of 2 random directions", "unsteered",
    ]  # fmt: skip
    slope = table.rows[4][1]
    assert slope.value == pytest.approx(float(found.steered.ways["random directions"].slope.mean()))


def with_difference(found: Measured, difference: Estimate) -> Measured:
    """The same, with this difference of the probes everywhere."""
    labels = {
        name: replace(
            label,
            layers={
                layer: {model: replace(each, difference=difference) for model, each in by_model.items()}
                for layer, by_model in label.layers.items()
            },
        )
        for name, label in found.probes.labels.items()
    }
    return replace(found, probes=replace(found.probes, labels=labels))


@pytest.mark.parametrize(("value", "as_good"), [(0.0, True), (-0.015, True), (-0.025, False), (0.05, True)])
def test_a_harmonic_probe_is_as_good_where_it_loses_less_than_it_may(found, value, as_good):
    told = with_difference(found, Estimate(value, value - 1e-5, value + 1e-5, 5e-6, 10.0))
    said = [each for each in claims(told.probes, None, None) if "as good" in each.name]
    assert len(said) == len(LABELS)
    assert all((each.p < 0.05) == as_good for each in said)
    assert all(margin.least == -WORSE for each in said for margin in each.margins)


def test_the_page_counts_where_the_harmonic_probe_is_better_worse_and_neither(found):
    better, worse = Estimate(0.1, 0.05, 0.15), Estimate(-0.1, -0.15, -0.05)
    assert "better in 8 of 8, worse in 0" in no_better(with_difference(found, better).probes)
    assert "better in 0 of 8, worse in 8" in no_better(with_difference(found, worse).probes)
    neither = no_better(with_difference(found, Estimate(0.0, -0.1, 0.1)).probes)
    assert "better in 0 of 8, worse in 0, and in the other 8 the interval holds 0" in neither
    assert neither in probes_table(with_difference(found, Estimate(0.0, -0.1, 0.1)).probes).note


def test_what_has_no_interval_counts_neither_way(found):
    assert "better in 0 of 0, worse in 0" in no_better(with_difference(found, Estimate(0.1)).probes)
    compared = found.probes.labels["next_is_hesitation"].layers[0]["base"]
    assert compared.difference.low is None  # layer 0 has the same token in both classes
    assert 0 < len(found.probes.differences) < 8


def test_the_headline_says_first_how_often_the_harmonic_probe_is_better(found):
    first, *others = probe_headlines(with_difference(found, Estimate(0.1, 0.05, 0.15)).probes)
    assert (first.name, first.value, first.n) == ("harmonic is better in", 8, 8)
    assert len(others) == len(LABELS)


def test_a_probe_that_never_reaches_its_target_needs_more_tokens_than_there_were(found):
    label = found.probes.labels["behaviour"]
    never = {model: replace(each, reached={"logistic": 50.4, "harmonic": None}) for model, each in label.data.items()}
    told = replace(found.probes, labels={"behaviour": replace(label, data=never)})
    most = max(never["base"].by_tokens)
    assert [row[2:4] for row in data_table(told).rows] == [[50, f"above {most}"]] * 2


def test_agreement_of_centres_counts_draws(found):
    agree = [each for each in claims(found.probes, None, None) if "agree" in each.name]
    assert [each.n for each in agree] == [2] * len(LABELS)


def test_what_was_not_asked_for_is_not_on_the_page(settings, pair, found):
    alone = page(settings, pair, replace(found, steered=None, lattices=None))
    assert [chart.name for chart in alone.charts] == ["accuracy_by_layer", "accuracy_by_tokens"]
    assert "steering" not in alone.results
    assert "lattice" not in alone.results


def test_steering_by_a_label_that_was_not_measured_is_left_out_with_the_reason(settings, pair, probed, monkeypatch):
    points = {"behaviour": probed.points["behaviour"]}
    monkeypatch.setattr("toolkit.experiments.harmonic_probes.measure.probe", lambda *_: replace(probed, points=points))
    without = replace(settings, lattice_steps=0)
    told = measure(without, pair)
    assert told.steered is None
    [table] = [each for each in page(without, pair, told).tables if each.title == "Left out"]
    assert [
        "steering",
        "label next_is_hesitation was not measured: give --toward another, or --test 0 to leave it out",
    ] in (table.rows)
