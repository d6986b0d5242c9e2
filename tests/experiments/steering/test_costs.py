"""What steering costs: on answers made by hand, and the interval of a change of a share by simulation."""

import math
from dataclasses import replace

import pytest
import torch

from toolkit.experiments.steering.costs import change_of_share, costs, kept_accuracy
from toolkit.statistics.estimates import GIVEN_ONE


def test_length_is_told_apart_by_whether_the_answer_is_right(of_steering, of_study):
    found = of_steering(correct=[1.0, 1.0, 0.5, 0.5])
    length = torch.full((4, 20), 100.0, dtype=torch.float64)
    length[2, 10:] = 150.0  # those that are wrong at +1, and no others
    spread = torch.linspace(-1, 1, 20, dtype=torch.float64)
    found = replace(found, answers=replace(found.answers, length=length))
    study = of_study(doubt=found)
    study = replace(study, unsteered=replace(study.unsteered, length=100.0 + spread[None]))
    cost = costs(found, study)[2]
    assert (cost.strength, cost.n_right, cost.n_other) == (1.0, 10, 10)
    assert cost.length_right.value == pytest.approx(-float(spread[:10].mean()))
    assert cost.length_other.value == pytest.approx(50 - float(spread[10:].mean()))
    assert cost.accuracy.value == pytest.approx(-0.5)
    assert cost.accuracy.high < 0
    assert {cost.accuracy.note, cost.length_right.note} == {GIVEN_ONE}


def test_right_in_one_arm_alone_counts_among_the_others(of_steering, of_study):
    found = of_steering(correct=[0.9, 0.9, 0.9, 0.2])
    costs_ = costs(found, of_study(0.5, doubt=found))
    assert [(cost.n_right, cost.n_other) for cost in costs_] == [(10, 10), (10, 10), (10, 10), (4, 16)]
    assert costs_[3].length_right.low is None
    assert costs_[3].length_right.note == "4 questions: an interval needs 8"


def test_without_right_answers_there_is_no_accuracy(of_steering, of_study):
    found = of_steering(correct=[math.nan] * 4)
    cost = costs(found, of_study(math.nan, doubt=found))[0]
    assert math.isnan(cost.accuracy.value)
    assert (cost.n_right, cost.n_other) == (0, 0)


def test_a_share_that_does_not_change_is_not_known_exactly():
    same = change_of_share(torch.zeros(96))
    assert same.value == 0
    assert same.low == pytest.approx(-same.high)
    assert 0.01 < same.high < 0.05
    few = change_of_share(torch.zeros(7))
    assert few.low is None
    assert few.note == "7 questions: an interval needs 8"


@pytest.mark.parametrize(("n", "up", "down"), [(20, 0.02, 0.05), (64, 0.02, 0.02), (96, 0.05, 0.35)])
def test_the_interval_of_a_change_of_a_share_covers_it(n, up, down):
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(600, n, generator=generator)
    changes = (draws < up).double() - (draws > 1 - down).double()
    found = [change_of_share(row) for row in changes]
    covered = sum(each.low <= up - down <= each.high for each in found) / len(found)
    assert covered >= 0.92


def test_accuracy_is_kept_up_to_the_strength_where_it_falls(of_steering, of_study):
    found = of_steering(correct=[0.3, 0.9, 1.0, 0.4])
    prices = costs(found, of_study(doubt=found))
    assert kept_accuracy(prices, 1).strength == 1.0
    assert kept_accuracy(prices, -1).strength == -1.0
    worse = of_steering(correct=[1.0, 0.3, 0.3, 1.0])  # stronger is right again: that does not count
    prices = costs(worse, of_study(doubt=worse))
    assert kept_accuracy(prices, 1) is None
    assert kept_accuracy(prices, -1) is None
