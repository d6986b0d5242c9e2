"""Means of answers over questions, on answers made by hand."""

import torch

from toolkit.answers.means import mean_of_questions, share_of_questions


def test_a_share_of_questions_has_an_interval_from_eight_on() -> None:
    assert share_of_questions(torch.ones(7)).note == "7 questions: an interval needs 8"
    halves = share_of_questions(torch.tensor([0.5, 1.0] * 8))  # of two samples each
    assert halves.low < halves.value == 0.75 < halves.high


def test_intervals_hold_values_that_are_possible_alone() -> None:
    """Nearly all answers are right, or hardly one hesitates: by the t distribution alone they would leave the range."""
    shares = share_of_questions(torch.tensor([0.5] + [1.0] * 15))
    assert shares.value < shares.high <= 1
    rate = mean_of_questions(torch.tensor([20.0] + [0.0] * 31))
    assert 0 <= rate.low < rate.value < rate.high
