"""Directions are picked on one set of questions and tested on another, chance included."""

import math

import pytest
import torch

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.steering import SteeringSettings
from toolkit.experiments.steering.study import Candidates, candidate_latents, steering_study
from toolkit.interventions.answers import Question
from toolkit.interventions.steering import Writing, answer_under
from toolkit.latents.categories import Category
from toolkit.latents.firing import FiringCounts

STRENGTHS = (-2.0, -1.0, 1.0, 2.0)


@pytest.fixture
def crosscoder(random_crosscoder) -> Crosscoder:
    return random_crosscoder(scale=(1.0, 1.0))


def questions(first: int, n: int) -> list[Question]:
    return [Question(question=f"w{first + i} w{i}", answer=None) for i in range(n)]


def writing() -> Writing:
    return Writing(layer=2, hesitation_ids=frozenset({4, 9}), new_tokens=24, temperature=1.0)


def study(pair, crosscoder, **groups: Candidates):
    settings = SteeringSettings(strengths=STRENGTHS, development_strengths=STRENGTHS, random_directions=3)
    return steering_study(
        pair.distilled,
        crosscoder,
        groups,
        development=questions(0, 6),
        test=questions(10, 5),
        settings=settings,
        writing=writing(),
    )


def test_the_steepest_candidate_is_picked_the_wanted_way(tiny_pair, crosscoder):
    directions = ((1,), (2,), (3, 4), (5,))
    found = study(
        tiny_pair,
        crosscoder,
        up=Candidates(directions=directions, toward="longer"),
        down=Candidates(directions=directions, toward="shorter"),
    )
    slopes = {direction: float(slope.mean()) for direction, slope in found.groups["up"].candidate_slopes.items()}
    assert set(slopes) == set(directions)
    assert found.groups["up"].latents == max(slopes, key=slopes.get)
    assert found.groups["down"].latents == min(slopes, key=slopes.get)
    random = [abs(float(slope.mean())) for slope in found.groups["up"].random_slopes]
    assert len(random) == 4  # as many as there are candidates, though three were asked for
    assert found.groups["up"].random_number == random.index(max(random))


def test_the_picked_arms_are_what_the_same_shifts_give_alone(tiny_pair, crosscoder):
    found = study(tiny_pair, crosscoder, up=Candidates(directions=((1,), (2,)), toward="longer"))
    (latent,) = found.groups["up"].latents
    row = torch.nn.functional.normalize(crosscoder.W_dec[latent, 1], dim=0) * math.sqrt(tiny_pair.d_model)
    shifts = torch.stack([strength * row for strength in (0.0, *STRENGTHS)])
    alone = answer_under(tiny_pair.distilled, questions(10, 5), shifts, writing())
    assert found.unsteered.texts == alone.texts[:1]
    assert found.groups["up"].answers.texts == alone.texts[1:]
    torch.testing.assert_close(found.groups["up"].answers.length, alone.length[1:])


def test_the_best_random_direction_is_turned_the_wanted_way(tiny_pair, crosscoder):
    candidates = ((1,), (2,))
    found = study(
        tiny_pair,
        crosscoder,
        up=Candidates(directions=candidates, toward="longer"),
        down=Candidates(directions=candidates, toward="shorter"),
    )
    up, down = found.groups["up"].random, found.groups["down"].random
    assert found.groups["up"].random_number == found.groups["down"].random_number
    assert up.texts == down.texts[::-1]  # the same direction, turned round


def test_slopes_are_least_squares(tiny_pair, crosscoder):
    answers = study(tiny_pair, crosscoder, up=Candidates(directions=((1,),), toward="longer")).groups["up"].answers
    dose = torch.tensor(STRENGTHS, dtype=torch.float64)
    design = torch.stack([torch.ones_like(dose), dose], dim=1)
    fitted = torch.linalg.lstsq(design, answers.log_length).solution[1]
    torch.testing.assert_close(answers.slope(STRENGTHS), fitted)


@pytest.mark.parametrize("strengths", [(0.1, math.nan), (0.1, math.inf), (0.0, 0.1)])
def test_impossible_strengths_are_refused(strengths):
    with pytest.raises(ValueError, match="give finite numbers other than 0"):
        SteeringSettings(strengths=strengths)


def test_one_strength_makes_no_slope():
    with pytest.raises(ValueError, match="a slope needs at least two"):
        SteeringSettings(strengths=(0.1,))


def test_candidates_fire_where_the_word_is_predicted():
    word = Category(name="doubt", words=("w7",), tokens=("w7",), token_ids=(7,))
    counts = FiringCounts([word], 5)
    ids = torch.tensor([[2, 7, 3, 5] * 10])
    codes = torch.zeros(40, 5)
    codes[::4, 0] = 1.0  # on all predicting positions
    codes[::8, 1] = 1.0  # on half of them
    codes[:, 2] = 1.0  # everywhere
    codes[:16:4, 3] = 1.0  # on 4 predicting positions alone: too little evidence
    codes[2::4, 4] = 1.0  # elsewhere
    codes[2, 0] = 1.0
    counts.add(ids, torch.ones_like(ids, dtype=torch.bool), codes)
    assert candidate_latents(counts, 0, 5) == (1, 0, 2)
    assert candidate_latents(counts, 0, 1) == (1,)
    silent = FiringCounts([word], 5)
    silent.add(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros(40, 5))
    with pytest.raises(ValueError, match="no latent fires on 20% of the positions that predict 'doubt', and on 5 of"):
        candidate_latents(silent, 0, 3)
