"""What steering costs, on answers made by hand."""

import math
from dataclasses import replace

import pytest
import torch

from toolkit.experiments.steering.costs import costs, kept_accuracy
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


def test_accuracy_is_kept_up_to_the_strength_where_it_falls(of_steering, of_study):
    found = of_steering(correct=[0.3, 0.9, 1.0, 0.4])
    prices = costs(found, of_study(doubt=found))
    assert kept_accuracy(prices, 1).strength == 1.0
    assert kept_accuracy(prices, -1).strength == -1.0
    worse = of_steering(correct=[1.0, 0.3, 0.3, 1.0])  # stronger is right again: that does not count
    prices = costs(worse, of_study(doubt=worse))
    assert kept_accuracy(prices, 1) is None
    assert kept_accuracy(prices, -1) is None
