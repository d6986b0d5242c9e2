"""Means of answers over questions, on answers made by hand."""

import torch

from toolkit.answers.means import share_of_questions


def test_a_share_of_questions_has_an_interval_from_eight_on() -> None:
    assert share_of_questions(torch.ones(7)).note == "7 questions: an interval needs 8"
    halves = share_of_questions(torch.tensor([0.5, 1.0] * 8))  # of two samples each
    assert halves.low < halves.value == 0.75 < halves.high
