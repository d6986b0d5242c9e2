"""What steering claims, and when it shows."""

import pytest

from toolkit.experiments.steering.claims import LEAST_SLOPE, claims, findings
from toolkit.statistics.estimates import GIVEN_ONE
from toolkit.statistics.verdicts import judge


def shows(study) -> list[bool]:
    return [verdict.shows for verdict in judge(claims(study))]


def test_a_latent_must_beat_both_controls_and_the_least_slope(of_steering, of_study):
    good = of_steering()
    assert shows(of_study(doubt=good)) == [True]
    assert shows(of_study(doubt=of_steering(controls=(2.0, 0.2)))) == [False]
    assert shows(of_study(doubt=of_steering(controls=(0.5, 2.0)))) == [False]
    slight = of_steering(slopes=(0.4, 0.41, 0.39), controls=(0.0, 0.0))
    assert all(margin.difference.low > 0.4 * LEAST_SLOPE for margin in claims(of_study(doubt=slight))[0].margins)
    assert shows(of_study(doubt=slight)) == [False]


def test_slopes_the_other_way_do_not_show(of_steering, of_study):
    down = of_steering(toward="shorter", slopes=(-2.0, -1.9, -2.1), controls=(-0.5, -0.2))
    assert shows(of_study(sure=down)) == [True]
    assert shows(of_study(sure=of_steering(toward="shorter"))) == [False]


def test_latents_of_other_seeds_that_do_not_steer_take_the_verdict_away(of_steering, of_study):
    one = of_steering(slopes=(2.0,))
    assert shows(of_study(doubt=one)) == [True]
    assert claims(of_study(doubt=one))[0].effect.note == GIVEN_ONE
    apart = of_steering(slopes=(2.0, 0.1, 0.2))
    (claim,) = claims(of_study(doubt=apart))
    assert claim.effect.value == pytest.approx(2.3 / 3)
    assert claim.effect.low < 0
    assert shows(of_study(doubt=apart)) == [False]


def test_one_latent_of_two_categories_is_one_claim(of_steering, of_study):
    both = of_study(
        doubt=of_steering(slopes=(2.0, 1.0, 2.1)),
        other=of_steering(slopes=(2.0, 1.9, 0.5)),
        third=of_steering(latent=9),
    )
    assert [list(each.groups) for each in findings(both)] == [["doubt", "other"], ["third"]]
    first, second = claims(both)
    assert first.name == "latent 3 makes answers longer (doubt, other)"
    assert second.name == "latent 9 makes answers longer (third)"
    # Of the other seeds, the steeper pick on development questions stands for both categories.
    assert first.effect.value == pytest.approx((2.0 + 1.9 + 2.1) / 3)


def test_controls_are_named_with_how_many_there_were(of_steering, of_study):
    over = [margin.over for margin in claims(of_study(doubt=of_steering()))[0].margins]
    assert over == [
        "no steering", "the best of 16 random directions", "the best of 16 latents that fire as often"
    ]  # fmt: skip
