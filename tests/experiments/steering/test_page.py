"""What the steering page says of answers, on answers made by hand."""

import math
from dataclasses import replace

import pytest
import torch

from toolkit.experiments.steering import Toward
from toolkit.experiments.steering.measure import SteeringConfig
from toolkit.experiments.steering.page import _harmless, _monotone, advantage, by_strength, steering_results
from toolkit.experiments.steering.study import Steered, SteeringStudy
from toolkit.interventions.answers import Question
from toolkit.interventions.steering import Answers
from toolkit.statistics.estimates import mean

STRENGTHS = (-2.0, -1.0, 1.0, 2.0)
N = 20
SPREAD = torch.linspace(0.9, 1.1, N, dtype=torch.float64)  # of a mean of 1, so that there are intervals


def answers(lengths: list[float], correct: list[float] | None = None) -> Answers:
    """Answers of mean length `lengths` at each arm, of which the share `correct` is right."""
    length = torch.tensor(lengths, dtype=torch.float64)[:, None] * SPREAD
    shares = torch.tensor(correct or [1.0] * len(lengths), dtype=torch.float64)
    right = (torch.arange(N) < (shares[:, None] * N).round()).double()
    return Answers(
        texts=[[f"answer {arm}"] * N for arm in range(len(lengths))],
        length=length,
        log_length=length.log(),
        hesitation=length / 10,
        finished=torch.ones_like(length),
        correct=torch.where(shares[:, None].isnan(), math.nan, right),
    )


def study(
    lengths: list[float], random: list[float], toward: Toward = "longer", correct: list[float] | None = None
) -> tuple[SteeringStudy, Steered]:
    """One latent, 100 tokens long and always right where it is not steered."""
    slope = torch.ones(3, dtype=torch.float64)
    steered = Steered(
        latents=(3,),
        toward=toward,
        answers=answers(lengths, correct),
        random=answers(random),
        random_number=0,
        candidate_slopes={(3,): slope},
        random_slopes=[slope, slope],
    )
    found = SteeringStudy(
        unsteered=answers([100.0], None if correct is None or not math.isnan(correct[0]) else [math.nan]),
        groups={"doubt": steered},
        strengths=STRENGTHS,
        questions=tuple(Question(question=f"{i}?", answer=None) for i in range(N)),
        development_questions=3,
    )
    return found, steered


RISING, LESS, FLAT = [50.0, 75.0, 130.0, 200.0], [90.0, 95.0, 105.0, 110.0], [100.0] * 4


@pytest.mark.parametrize(
    ("lengths", "random", "toward", "sign"),
    [
        (RISING, LESS, "longer", 1),
        (LESS, RISING, "longer", -1),
        (RISING, LESS, "shorter", -1),
        (RISING[::-1], LESS[::-1], "shorter", 1),
        (FLAT, FLAT, "longer", 0),
    ],
)
def test_the_advantage_is_the_difference_of_slopes_the_wanted_way(lengths, random, toward, sign):
    found, steered = study(lengths, random, toward)
    dose = torch.tensor(STRENGTHS, dtype=torch.float64)
    slopes = [
        float((dose * torch.tensor(arm, dtype=torch.float64).log()).sum() / dose.square().sum())
        for arm in (lengths, random)
    ]
    expected = (1 if toward == "longer" else -1) * (slopes[0] - slopes[1])
    better = advantage(steered, found)
    assert better.value == pytest.approx(expected, abs=1e-9)
    assert (better.value > 1e-6, better.value < -1e-6) == (sign > 0, sign < 0)


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
def test_monotone_counts_from_zero_outward_to_the_first_break(lengths, toward, below, above):
    found, steered = study(lengths, FLAT, toward)
    assert _monotone(steered, found) == f"monotone over {below} strengths below 0 and {above} above"


def test_harmless_is_at_most_five_points_below_unsteered():
    found, steered = study(FLAT, FLAT, correct=[0.9, 0.95, 1.0, 0.5])
    assert _harmless(by_strength(steered, found)) == "accuracy at most 5 points below unsteered at -1, +1"
    found, steered = study(FLAT, FLAT, correct=[0.0] * 4)
    assert _harmless(by_strength(steered, found)).endswith("at no strength")
    found, steered = study(FLAT, FLAT, correct=[math.nan] * 4)
    assert _harmless(by_strength(steered, found)) == "accuracy not known"


def test_doses_are_in_order_with_the_unsteered_answers_at_zero():
    found, steered = study(RISING, LESS)
    doses = by_strength(steered, found)
    assert [dose.strength for dose in doses] == [-2, -1, 0, 1, 2]
    assert [dose.latent["length"].value for dose in doses] == pytest.approx([50, 75, 100, 130, 200])
    assert [dose.random["length"].value for dose in doses] == pytest.approx([90, 95, 100, 105, 110])
    assert doses[2].latent == doses[2].random
    assert doses[4].latent["hesitation"] == mean(steered.answers.hesitation[3])


def test_results_have_bare_numbers_with_their_intervals_beside():
    found, steered = study(RISING, LESS)
    results = steering_results(found, {"doubt": by_strength(steered, found)})
    for arm in results["steering"]["doubt"]:
        assert arm["n"] == N
        assert arm.keys() >= {"strength", "length", "accuracy", "hesitation_per_1k", "finished", "random_length"}
        for name, estimate in arm["intervals"].items():
            assert arm[name] == estimate.value
            assert estimate.low is None or estimate.low <= estimate.value <= estimate.high
    chance = results["against_chance"]["doubt"]
    assert (chance["n"], chance["n_random_directions"]) == (N, 2)
    assert chance["slope_minus_random"] == advantage(steered, found)


def test_the_page_says_how_many_directions_and_questions_there_were(run):
    from toolkit.experiments.steering.page import page

    found, steered = study(RISING, LESS)
    note = page(SteeringConfig(test=N), run, found).tables[0].note
    assert "the best of 2 random directions" in note
    assert "asked for" not in note
    one = replace(found, groups={"doubt": replace(steered, random_slopes=steered.random_slopes[:1])})
    note = page(SteeringConfig(test=N + 1), run, one).tables[0].note
    assert "the one random direction" in note
    assert f"{N} others to test them ({N + 1} were asked for" in note
