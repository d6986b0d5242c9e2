import math

import torch

from toolkit.experiments.estimates import around, mean
from toolkit.geometry.bootstrap import bootstrap_mean
from toolkit.reports.findings import Estimate


def test_a_mean_leaves_out_what_is_not_known_and_its_group():
    values = torch.tensor([1.0, math.nan, 2.0, 4.0, 5.0])
    groups = torch.tensor([0, 7, 0, 1, 2])
    known = values[~values.isnan()]
    chance = torch.Generator().manual_seed(0)
    assert mean(values) == Estimate(*bootstrap_mean(known, chance))
    chance = torch.Generator().manual_seed(0)
    assert mean(values, groups) == Estimate(*bootstrap_mean(known, chance, groups=torch.tensor([0, 0, 1, 2])))


def test_nothing_known_has_no_mean():
    assert math.isnan(mean(torch.full((3,), math.nan)).value)


def test_intervals_reach_as_far_to_either_side():
    found = around(torch.tensor([1.0, 4.0]), torch.tensor([0.5, 2.0]))
    assert found == [Estimate(1.0, 0.5, 1.5), Estimate(4.0, 2.0, 6.0)]
