"""The intervals of a change of a share and of a difference of two shares, by simulation."""

import pytest
import torch

from toolkit.statistics.shares import change_of_share, difference_of_shares


def test_a_share_that_does_not_change_is_not_known_exactly():
    same = change_of_share(torch.zeros(96))
    assert same.value == 0
    assert same.low == pytest.approx(-same.high)
    assert 0.01 < same.high < 0.05
    few = change_of_share(torch.zeros(7), unit="question")
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


@pytest.mark.parametrize(("n", "m", "first", "second"), [(20, 20, 0.5, 0.1), (40, 40, 0.1, 0.1), (100, 30, 0.08, 0.02)])
def test_the_interval_of_a_difference_of_shares_covers_it(n, m, first, second):
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(600, n + m, generator=generator)
    successes = zip((draws[:, :n] < first).sum(1).tolist(), (draws[:, n:] < second).sum(1).tolist(), strict=True)
    found = [difference_of_shares((a, n), (b, m)) for a, b in successes]
    covered = sum(each.low <= first - second <= each.high for each in found) / len(found)
    assert covered >= 0.93


def test_shares_of_nothing_and_of_everything_have_a_difference_with_a_width():
    found = difference_of_shares((0, 10), (0, 10))
    assert found.value == 0
    assert found.low == pytest.approx(-found.high)
    assert found.high > 0.1
    assert found.p_above(0.0) == 1
    sure = difference_of_shares((30, 30), (0, 30))
    assert sure.value == 1
    assert sure.low < 1
    assert sure.p_above(0.0) < 1e-6
