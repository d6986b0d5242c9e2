"""Directions are picked on one set of questions and tested on another, chance included."""

import math

import pytest
import torch

from toolkit.answers.answering import Answerer, Writing, answer_each
from toolkit.answers.questions import Question
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.steering import SteeringSettings
from toolkit.experiments.steering.directions import UNSTEERED, Direction, Steering
from toolkit.experiments.steering.study import (
    ALIKE,
    RANDOM,
    Candidates,
    candidate_latents,
    latents_alike,
    steering_study,
)
from toolkit.interventions.edits import shift
from toolkit.latents.categories import Category
from toolkit.latents.firing import FiringCounts
from toolkit.leaving_out import TooFewError

STRENGTHS = (-2.0, -1.0, 1.0, 2.0)


@pytest.fixture
def crosscoder(random_crosscoder) -> Crosscoder:
    return random_crosscoder(scale=(1.0, 1.0))


def questions(first: int, n: int) -> list[Question]:
    return [Question(question=f"w{first + i} w{i}", answer=None) for i in range(n)]


def writing() -> Writing:
    return Writing(hesitation_ids=frozenset({4, 9}), new_tokens=24, temperature=1.0)


def latents(*numbers: tuple[int, ...], seed: int = 0) -> tuple[Direction, ...]:
    return tuple(Direction(seed, each) for each in numbers)


def candidates(*numbers: tuple[int, ...], toward: str = "longer") -> Candidates:
    return Candidates(directions={0: latents(*numbers)}, toward=toward)


def study(pair, crosscoders, *, alike: tuple[Direction, ...] = (), n_random: int = 3, **groups: Candidates):
    steering = Steering.of(pair.distilled, crosscoders, writing(), layer=2, n_random=n_random)
    settings = SteeringSettings(strengths=STRENGTHS, slope_strengths=(-2.0, 2.0))
    test = questions(10, 5)
    return steering_study(steering, groups, alike, development=questions(0, 6), test=test, settings=settings)


def means(picked) -> dict[Direction, float]:
    return {direction: float(slope.mean()) for direction, slope in picked.development.items()}


def test_the_steepest_candidate_is_picked_the_wanted_way(tiny_pair, crosscoder):
    directions = ((1,), (2,), (3, 4), (5,))
    found = study(
        tiny_pair, {0: crosscoder}, up=candidates(*directions), down=candidates(*directions, toward="shorter")
    )
    up, down = found.groups["up"], found.groups["down"]
    slopes = means(up.own)
    assert set(slopes) == set(latents(*directions))
    assert up.own.direction == max(slopes, key=slopes.get)
    assert down.own.direction == min(slopes, key=slopes.get)
    random = means(up.controls[RANDOM])
    assert len(random) == 3
    assert up.controls[RANDOM].direction == max(random, key=lambda each: abs(random[each]))
    assert ALIKE not in up.controls


def test_the_picked_arms_are_what_the_same_shifts_give_alone(tiny_pair, crosscoder):
    found = study(tiny_pair, {0: crosscoder}, up=candidates((1,), (2,)))
    (latent,) = found.groups["up"].latents
    row = torch.nn.functional.normalize(crosscoder.W_dec[latent, 1], dim=0) * math.sqrt(tiny_pair.d_model)
    arms = [Answerer(tiny_pair.distilled, shift(2, strength * row)) for strength in (0.0, *STRENGTHS)]
    alone = answer_each(arms, questions(10, 5), writing())
    assert found.unsteered.texts == alone.texts[:1]
    assert found.groups["up"].answers.texts == alone.texts[1:]
    torch.testing.assert_close(found.groups["up"].answers.length, alone.length[1:])
    slope = alone.arms([1, 4]).slope((-2.0, 2.0))
    torch.testing.assert_close(found.groups["up"].own.slope, slope)


def test_controls_are_turned_the_wanted_way(tiny_pair, crosscoder):
    both = {"up": candidates((1,), (2,)), "down": candidates((1,), (2,), toward="shorter")}
    found = study(tiny_pair, {0: crosscoder}, alike=latents((6,), (7,)), **both)
    up, down = found.groups["up"], found.groups["down"]
    assert up.random.texts == down.random.texts[::-1]  # the same direction, turned round
    for kind in (RANDOM, ALIKE):
        assert up.controls[kind].direction == down.controls[kind].direction
        assert up.controls[kind].turn == -down.controls[kind].turn
        torch.testing.assert_close(up.controls[kind].slope, -down.controls[kind].slope)
    assert set(up.controls[ALIKE].development) == set(latents((6,), (7,)))


def test_each_seed_picks_among_its_own_latents_as_if_it_were_alone(tiny_pair, random_crosscoder):
    crosscoders = {0: random_crosscoder(scale=(1.0, 1.0)), 7: random_crosscoder(scale=(1.0, 1.0), seed=7)}
    of_seeds = {0: latents((1,), (2,)), 7: latents((1,), (3,), seed=7)}
    both = study(tiny_pair, crosscoders, up=Candidates(directions=of_seeds, toward="longer")).groups["up"]
    alone = study(tiny_pair, {7: crosscoders[7]}, up=Candidates(directions={7: of_seeds[7]}, toward="longer")).groups[
        "up"
    ]
    assert both.own.direction.seed == 0
    assert both.seeds[7].direction == alone.own.direction
    torch.testing.assert_close(both.seeds[7].slope, alone.own.slope)
    torch.testing.assert_close(both.controls[RANDOM].slope, alone.controls[RANDOM].slope)
    assert both.slopes.shape == (2, 5)


def test_an_arm_that_several_groups_ask_for_is_written_once(tiny_pair, crosscoder):
    steering = Steering.of(tiny_pair.distilled, {0: crosscoder}, writing(), layer=2, n_random=1)
    (one,) = latents((1,))
    written = steering.answer(questions(0, 2), [UNSTEERED, (one, 1.0), (one, 1.0), (one, -1.0)], writing())
    assert len(written.answers.texts) == 3
    assert written.at(one, (-1.0, 1.0)).texts == [written.answers.texts[2], written.answers.texts[1]]


def test_slopes_are_least_squares(tiny_pair, crosscoder):
    answers = study(tiny_pair, {0: crosscoder}, up=candidates((1,))).groups["up"].answers
    dose = torch.tensor(STRENGTHS, dtype=torch.float64)
    design = torch.stack([torch.ones_like(dose), dose], dim=1)
    fitted = torch.linalg.lstsq(design, answers.log_length).solution[1]
    torch.testing.assert_close(answers.slope(STRENGTHS), fitted)


def test_control_latents_fire_as_often_and_are_no_candidates():
    counts = FiringCounts([], 40)
    counts.tokens = 1000
    counts.fired = torch.arange(40) * 10  # number 0 is dead
    groups = {"up": candidates((30,), (10,)), "down": candidates((20, 21), toward="shorter")}
    chance = torch.Generator().manual_seed(0)
    alike = [each.numbers[0] for each in latents_alike(counts, groups, 4, chance)]
    assert len(set(alike)) == 4
    assert not {0, 10, 20, 21, 30} & set(alike)
    wanted = torch.tensor([10, 20, 21, 30])
    assert all(int((wanted - latent).abs().min()) <= 5 for latent in alike)
    assert len(latents_alike(counts, {"up": candidates((30,))}, 6, chance)) == 6  # of one candidate several
    with pytest.raises(TooFewError):
        latents_alike(counts, groups, 36, chance)


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
