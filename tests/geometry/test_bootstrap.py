"""Bootstrap intervals against the normal ones."""

import pytest
import torch

from toolkit.geometry.bootstrap import bootstrap_difference, bootstrap_mean


def test_interval_of_a_mean_agrees_with_the_normal_one():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    mean, low, high = bootstrap_mean(values, torch.Generator().manual_seed(1))
    half = 1.96 * values.std().item() / 2000**0.5
    assert mean == pytest.approx(values.mean().item(), abs=1e-6)
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)


def test_interval_of_a_difference_agrees_with_the_normal_one():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(1500, generator=generator) * 2 + 1
    second = torch.randn(700, generator=generator)
    difference, low, high = bootstrap_difference(first, second, torch.Generator().manual_seed(1))
    half = 1.96 * (first.var() / 1500 + second.var() / 700).sqrt().item()
    assert difference == pytest.approx((first.mean() - second.mean()).item(), abs=1e-6)
    assert low == pytest.approx(difference - half, abs=0.1 * half)
    assert high == pytest.approx(difference + half, abs=0.1 * half)


def test_no_values_are_refused():
    some, none = torch.ones(3), torch.ones(0)
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean(none, torch.Generator())
    with pytest.raises(ValueError, match="no values"):
        bootstrap_difference(some, none, torch.Generator())
