"""What is claimed of arms, on answers made by hand: that it shows where it is so, and only there."""

import pytest

from toolkit.experiments.reasoning_evaluation.claims import claims
from toolkit.statistics.verdicts import judge

STEERED, RANDOM = "distilled + steer 623 0.1", "distilled + random 0 0.1"


def shown(found) -> dict[str, bool]:
    """Whether each claim shows."""
    return {verdict.claim.name: verdict.shows for verdict in judge(claims(found))}


@pytest.mark.parametrize(
    ("base", "control", "shows"), [(2, 3, (True, True)), (2, 20, (True, False)), (21, 21, (False,) * 2)]
)
def test_the_distilled_model_surpasses_whom_it_does(measured, base, control, shows):
    said = shown(measured({"distilled": (20, 160), "base": (base, 160), "control": (control, 160)}))
    assert said["distilled is more often right than base"] is shows[0]
    assert said["distilled is more often right than control"] is shows[1]


def test_accuracy_is_compared_whichever_arm_is_the_first(measured):
    first = claims(measured({"base": (4, 160), "distilled": (20, 160)}))[0]
    assert first.name == "distilled is more often right than base"
    assert first.effect.value == pytest.approx(16 / 24)


@pytest.mark.parametrize(("steered", "random", "shows"), [(300, 165, True), (300, 320, False), (160, 160, False)])
def test_steering_must_lengthen_more_than_the_random_direction(measured, steered, random, shows):
    arms = {"distilled": (20, 160), STEERED: (12, steered), RANDOM: (20, random)}
    assert shown(measured(arms))[f"{STEERED} thinks longer than unsteered, and than random directions"] is shows


def test_steering_without_a_control_is_not_claimed(measured):
    other_strength = {"distilled": (20, 160), STEERED: (12, 300), "distilled + random 0 0.2": (20, 160)}
    for arms in (other_strength, {STEERED: (12, 300), RANDOM: (20, 160)}):
        assert not any("thinks longer" in claim.name for claim in claims(measured(arms)))


def test_thinking_pays_where_stopping_it_costs_right_answers(measured):
    found = measured({"distilled": (20, 160)})
    claim = next(each for each in claims(found) if "after all its thinking" in each.name)
    assert claim.margins[0].over == "after 40 tokens of thinking"
    assert claim.effect.value == pytest.approx((20 - 5) / 24)
    assert shown(found)[claim.name]


def test_names_that_say_nothing_are_compared_and_not_claimed(measured):
    said = [claim.name for claim in claims(measured({"mine": (20, 160), "steered": (12, 300)}))]
    assert said == ["mine is more often right after all its thinking"]
