"""What the steering page says of answers, on answers made by hand."""

import math
from dataclasses import replace

import pytest
import torch

from toolkit.experiments.steering import SteeringConfig
from toolkit.experiments.steering.besides import Besides
from toolkit.experiments.steering.costs import costs
from toolkit.experiments.steering.doses import by_strength
from toolkit.experiments.steering.measure import Measured
from toolkit.experiments.steering.page import _harmless, _monotone, advantage, page, steering_results
from toolkit.interventions.edits import steer
from toolkit.interventions.steering_files import load_steering_vector
from toolkit.statistics.estimates import GIVEN_ONE, Estimate, mean

N = 20
RISING, LESS, FLAT = [50.0, 75.0, 130.0, 200.0], [90.0, 95.0, 105.0, 110.0], [100.0] * 4
BESIDES = Besides(
    doubtful=Estimate(0.45, 0.38, 0.52),
    before_words=Estimate(0.5, 0.45, 0.55),
    ablated=Estimate(0.0, -0.1, 0.1),
    n_words=90,
    nrn=0.41,
)


def cells(table, column: str) -> dict:
    """A column by the names of its rows."""
    at = table.columns.index(column)
    return {row[0]: row[at] for row in table.rows}


@pytest.mark.parametrize(
    ("slopes", "control", "toward", "sign"),
    [
        ((2.0, 1.9, 2.1), 0.5, "longer", 1),
        ((0.5,), 2.0, "longer", -1),
        ((-2.0, -1.9, -2.1), -0.5, "shorter", 1),
        ((2.0,), 0.5, "shorter", -1),
        ((0.0,), 0.0, "longer", 0),
    ],
)
def test_the_advantage_is_the_difference_of_slopes_the_wanted_way(of_steering, slopes, control, toward, sign):
    better = advantage(of_steering(slopes=slopes, controls=(control, 0.0), toward=toward))
    expected = sum(slopes) / len(slopes) - control
    assert better.value == pytest.approx(expected if toward == "longer" else -expected, abs=1e-9)
    assert (better.value > 1e-6, better.value < -1e-6) == (sign > 0, sign < 0)
    assert len(slopes) > 1 or better.note == GIVEN_ONE or better.low is None


@pytest.mark.parametrize(
    ("lengths", "toward", "below", "above"),
    [
        (RISING, "longer", 2, 2),
        (RISING, "shorter", 0, 0),
        (RISING[::-1], "shorter", 2, 2),
        ([80.0, 75.0, 130.0, 130.0], "longer", 1, 1),
        ([50.0, 100.0, 99.0, 200.0], "longer", 0, 0),
    ],
)
def test_monotone_counts_from_zero_outward_to_the_first_break(of_steering, of_study, lengths, toward, below, above):
    steered = of_steering(lengths=lengths, toward=toward)
    said = _monotone(steered, of_study(doubt=steered))
    assert said == f"monotone over {below} strengths below 0 and {above} above"


@pytest.mark.parametrize(
    ("correct", "unsteered", "said"),
    [
        (
            [0.3, 1.0, 1.0, 0.4],
            1.0,
            "not below unsteered, by its interval, up to -1 (change +0.00) and +1 (change +0.00)",
        ),
        ([0.9, 0.95, 0.3, 0.3], 1.0, "not below unsteered, by its interval, up to -2 (change -0.10)"),
        ([0.0] * 4, 1.0, "accuracy falls at every strength"),
        ([math.nan] * 4, math.nan, "accuracy not known"),
    ],
)
def test_the_headline_says_how_far_accuracy_is_kept(of_steering, of_study, correct, unsteered, said):
    steered = of_steering(correct=correct)
    assert _harmless(costs(steered, of_study(unsteered, doubt=steered))).endswith(said)


def test_doses_are_in_order_with_the_unsteered_answers_at_zero(of_steering, of_study):
    steered = of_steering(lengths=RISING, random=LESS)
    doses = by_strength(steered, of_study(doubt=steered))
    assert [dose.strength for dose in doses] == [-2, -1, 0, 1, 2]
    assert [dose.latent["length"].value for dose in doses] == pytest.approx([50, 75, 100, 130, 200])
    assert [dose.random["length"].value for dose in doses] == pytest.approx([90, 95, 100, 105, 110])
    assert doses[2].latent == doses[2].random
    assert doses[4].latent["hesitation"] == replace(mean(steered.answers.hesitation[3]), note=GIVEN_ONE)


def test_no_share_of_questions_is_known_exactly(of_steering, of_study):
    steered = of_steering()
    for dose in by_strength(steered, of_study(doubt=steered)):
        for measure in ("finished", "correct"):  # all of twenty
            assert dose.latent[measure].value == 1
            assert dose.latent[measure].low < 0.9


def test_results_have_bare_numbers_with_their_intervals_beside(of_steering, of_study):
    steered = of_steering(lengths=RISING, random=LESS)
    study = of_study(doubt=steered)
    results = steering_results(study, {"doubt": by_strength(steered, study)})
    for arm in results["steering"]["doubt"]:
        assert arm["n"] == N
        assert arm.keys() >= {"strength", "length", "accuracy", "hesitation_per_1k", "finished", "random_length"}
        for name, estimate in arm["intervals"].items():
            assert arm[name] == estimate.value
            assert estimate.low <= estimate.value <= estimate.high
    chance = results["against_chance"]["doubt"]
    assert (chance["n"], chance["n_random_directions"], chance["latents"]) == (N, 16, [3])
    assert chance["slope_minus_random"] == advantage(steered)
    assert [each["latents"] for each in results["seeds"]["doubt"].values()] == [[3], [4], [5]]


def test_the_page_says_what_steering_costs_and_what_the_latent_does_besides(of_steering, of_study, run):
    steered = of_steering(lengths=RISING, random=LESS, correct=[1.0, 1.0, 0.5, 0.2])
    found = page(SteeringConfig(test=N), run, Measured(study=of_study(doubt=steered), besides={"doubt": BESIDES}))
    tables = {table.title: table for table in found.tables}
    costs_table = tables["doubt: what latent 3 costs"]
    assert cells(costs_table, "accuracy")["+2"].value == pytest.approx(-0.8)
    assert cells(costs_table, "length, others")["+2"].value == pytest.approx(100, abs=5)
    beside = tables["What the latent does besides"]
    assert beside.rows == [["doubt: latent 3", BESIDES.doubtful, BESIDES.before_words, BESIDES.ablated, 90, 0.41]]
    assert cells(tables["What shows"], "shows") == {"latent 3 makes answers longer (doubt)": "yes"}
    assert "by seed" in " ".join(tables).lower()
    assert [claim.name for claim in found.claims] == ["latent 3 makes answers longer (doubt)"]
    assert found.results["verdicts"][0]["shows"]
    assert not any(table.detail for title, table in tables.items() if "costs" in title or "besides" in title)


def test_one_latent_of_two_categories_is_said_to_be_one_finding(of_steering, of_study, run):
    both = of_study(doubt=of_steering(), other=of_steering())
    found = page(SteeringConfig(test=N), run, Measured(study=both, besides={"doubt": BESIDES, "other": BESIDES}))
    assert found.tables[0].note.startswith("Latent 3 was picked for doubt and other: that is one finding")
    assert len(found.tables[0].rows) == 1


def test_the_page_says_how_many_directions_and_questions_there_were(of_steering, of_study, run):
    study = of_study(doubt=of_steering(correct=[math.nan] * 4), unsteered=math.nan)
    unknown = replace(BESIDES, doubtful=None)
    found = page(SteeringConfig(test=N + 1), run, Measured(study=study, besides={"doubt": unknown}))
    tables = {table.title: table for table in found.tables}
    note = tables["doubt: latent 3 by strength"].note
    assert "the best of 16 random directions" in note
    assert f"{N} others to test them ({N + 1} were asked for" in note
    assert "doubt: what latent 3 costs" not in tables  # no right answers
    assert "doubtful answers" not in tables["What the latent does besides"].columns


@pytest.mark.parametrize(("changes", "strength"), [({}, 0.1), ({"suppress": True, "model": "base"}, -0.1)])
def test_the_picked_latent_is_saved_as_a_steering_vector(of_steering, of_study, run, tmp_path, changes, strength):
    settings = SteeringConfig(test=N, **changes)
    found = page(settings, run, Measured(study=of_study(doubt=of_steering()), besides={"doubt": BESIDES}))
    found.save(tmp_path)
    edit = steer(run.crosscoder, latent=3, strength=strength, model=settings.model)
    stream = torch.randn(1, 2, 16)
    assert torch.equal(load_steering_vector(tmp_path / "steering_vector.safetensors")(stream), edit(stream))
    (name, lm_eval), *others = torch.load(tmp_path / "steered.pt", weights_only=True).items()
    assert (name, others) == (f"layers.{edit.layers[0] - 1}", [])
    assert torch.equal(stream + lm_eval["steering_vector"], edit(stream))
    assert f"# latent 3, strength {strength:+g}, for {settings.model}.generate" in found.code
    assert run.models.models[settings.model].source in found.code


def test_no_steering_vector_is_saved_of_several_categories(of_steering, of_study, run):
    measured = Measured(study=of_study(doubt=of_steering()), besides={"doubt": BESIDES})
    found = page(SteeringConfig(test=N, aims={"doubt": "longer"}), run, measured)
    assert (found.files, found.code) == ({}, "")
