"""The interval of a change of a share, by simulation."""

import pytest
import torch

from toolkit.statistics.shares import change_of_share


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
