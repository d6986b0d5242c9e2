"""Shares that are recovered, and what is claimed of them, on numbers made by hand."""

from math import isnan, nan

import pytest
import torch

from toolkit.answers.answer_tables import Answers
from toolkit.experiments.adapter_evaluation.answers import MODES, ModeAnswers
from toolkit.experiments.adapter_evaluation.claims import accuracy_claim, length_claim
from toolkit.experiments.adapter_evaluation.study import beyond_share, recovered, shuffled_within
from toolkit.statistics.verdicts import judge

N = 60


def values(share: float) -> torch.Tensor:
    """1 for the first questions, as many as the share says."""
    return (torch.arange(N) < share * N).double()


def answers(accuracy: dict[str, float], length: dict[str, float]) -> ModeAnswers:
    spread = torch.linspace(0.9, 1.1, N, dtype=torch.float64)
    lengths = torch.stack([length.get(mode, 100.0) * spread for mode in MODES])
    return ModeAnswers(
        modes=MODES,
        answers=Answers(
            texts=[[""] * N] * 4,
            length=lengths,
            log_length=lengths.log(),
            hesitation=lengths,
            finished=torch.ones_like(lengths),
            correct=torch.stack([values(accuracy.get(mode, 0.0)) for mode in MODES]),
        ),
    )


def test_what_is_recovered_is_a_share_of_the_gap_with_an_interval_over_samples():
    found = recovered(values(0.5), values(0.1), values(0.9), unit="question")
    assert found.value == pytest.approx(0.5)
    assert 0.3 < found.low < 0.5 < found.high < 0.7
    assert recovered(values(0.9), values(0.1), values(0.9), unit="question").value == pytest.approx(1)
    half_known = torch.where(torch.arange(N) % 2 == 0, values(0.5), nan)
    assert recovered(half_known, values(0.1), values(0.9), unit="question").value == pytest.approx(0.5)


def test_nothing_is_recovered_where_there_is_no_gap_or_no_answer_is_known():
    same = recovered(values(0.5), values(0.2), values(0.2), unit="question")
    assert isnan(same.value)
    assert same.note == "hybrid and distilled model do not differ"
    assert recovered(values(0.5) * nan, values(0.2), values(0.2), unit="question").note == "not known"


def test_the_interval_of_a_recovered_share_covers_it():
    chance, covered = torch.Generator().manual_seed(0), 0
    for _ in range(300):
        ease = torch.rand(N, generator=chance)
        found = recovered((ease < 0.6).double(), (ease < 0.2).double(), (ease < 0.8).double(), unit="question")
        covered += found.low <= 2 / 3 <= found.high
    assert covered / 300 > 0.91


def test_the_excess_over_a_share_is_above_zero_where_more_is_recovered():
    assert float(beyond_share(values(0.8), values(0.0), values(1.0), 0.7).mean()) == pytest.approx(0.1)


def test_rows_are_shuffled_among_the_chosen_alone_and_none_stays():
    rows = torch.arange(12.0).view(6, 2)
    moved = shuffled_within(rows, torch.tensor([0, 2, 3, 5]), torch.Generator().manual_seed(0))
    assert moved[[1, 4]].equal(rows[[1, 4]])
    assert sorted(moved[:, 0].tolist()) == sorted(rows[:, 0].tolist())
    assert (moved[[0, 2, 3, 5]] != rows[[0, 2, 3, 5]]).all()


@pytest.mark.parametrize(("adapter", "shows"), [(0.9, True), (0.65, False), (0.4, False)])
def test_accuracy_is_claimed_beyond_seven_tenths_of_the_gap(adapter, shows):
    found = answers({"hybrid": 0.0, "adapter": adapter, "distilled": 0.9}, {})
    assert judge([accuracy_claim(found)])[0].shows == shows


def test_accuracy_that_nobody_lost_is_not_claimed():
    assert not judge([accuracy_claim(answers({"hybrid": 0.5, "adapter": 0.6, "distilled": 0.4}, {}))])[0].shows


@pytest.mark.parametrize(("length", "shows"), [(100.0, True), (94.0, True), (85.0, False), (115.0, False)])
def test_length_is_claimed_within_a_tenth_on_either_side(length, shows):
    assert judge([length_claim(answers({}, {"adapter": length}))])[0].shows == shows
