"""Bootstrap intervals against the normal ones."""

import math

import pytest
import torch

from toolkit.geometry.bootstrap import bootstrap_mean, interval, resample_counts


def test_interval_of_a_mean_agrees_with_the_normal_one():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    mean, low, high = bootstrap_mean(values, torch.Generator().manual_seed(1))
    half = 1.96 * values.std().item() / 2000**0.5
    assert mean == pytest.approx(values.mean().item(), abs=1e-6)
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)


def test_samples_of_one_group_are_drawn_together():
    of_group = torch.randn(300, generator=torch.Generator().manual_seed(0))
    values, groups = of_group.repeat_interleave(10), torch.arange(300).repeat_interleave(10)
    mean, low, high = bootstrap_mean(values, torch.Generator().manual_seed(1), groups=groups)
    assert (mean, low, high) == pytest.approx(bootstrap_mean(of_group, torch.Generator().manual_seed(1)))
    _, narrow, wide = bootstrap_mean(values, torch.Generator().manual_seed(1))
    assert wide - narrow < 0.5 * (high - low)


def test_groups_weigh_as_many_samples_as_they_have():
    values, groups = torch.tensor([0.0, 1.0, 1.0, 1.0]), torch.tensor([7, 3, 3, 3])
    mean, low, high = bootstrap_mean(values, torch.Generator().manual_seed(0), groups=groups)
    assert (mean, low, high) == (0.75, 0.0, 1.0)


def test_one_sample_or_group_has_a_mean_but_no_interval():
    for values, groups in ((torch.ones(1), None), (torch.ones(3), torch.zeros(3, dtype=torch.long))):
        mean, *ends = bootstrap_mean(values, torch.Generator(), groups=groups)
        assert mean == 1
        assert all(map(math.isnan, ends))


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean(torch.ones(0), torch.Generator())


def test_a_resample_draws_as_many_as_there_are_each_as_likely():
    counts = resample_counts(5, 4000, torch.Generator().manual_seed(0))
    assert counts.shape == (4000, 5)
    assert (counts.sum(dim=1) == 5).all()
    assert counts.mean(dim=0).tolist() == pytest.approx([1] * 5, abs=0.05)
    assert counts.var().item() == pytest.approx(4 / 5, abs=0.05)  # of a binomial: n = 5, p = 1/5


def test_an_interval_holds_the_middle_and_leaves_out_nan():
    values = torch.cat([torch.arange(1001.0), torch.full((9,), torch.nan)])
    assert interval(values[torch.randperm(1010, generator=torch.Generator().manual_seed(0))]) == (25, 975)
