"""Medians with their intervals; how often these contain the truth is tested by simulation."""

import pytest
import torch

from toolkit.statistics.medians import median


def test_the_median_is_torchs_and_its_ends_are_values() -> None:
    values = torch.randn(31, generator=torch.Generator().manual_seed(0)).double()
    found = median(torch.cat([values, torch.tensor([float("nan")]).double()]))
    assert found.value == float(values.median())
    assert found.low < found.value < found.high
    assert {found.low, found.high} <= set(values.tolist())


def test_groups_that_are_alike_count_for_less_than_independent_samples() -> None:
    generator = torch.Generator().manual_seed(1)
    levels = torch.randn(20, generator=generator).repeat_interleave(6)
    values, groups = levels + 0.01 * torch.randn(120, generator=generator), torch.arange(20).repeat_interleave(6)
    alike, independent = median(values, groups), median(values)
    assert alike.high - alike.low > 2 * (independent.high - independent.low)


def test_the_values_above_the_middle_need_not_be_known() -> None:
    values = torch.arange(40.0)
    cut = values.clamp(max=30)
    assert (median(cut).value, median(cut).low, median(cut).high) == pytest.approx(
        (median(values).value, median(values).low, median(values).high)
    )


def test_few_or_equal_values_have_no_error() -> None:
    few = median(torch.arange(7.0), unit="question")
    assert (few.value, few.low, few.note) == (3, None, "7 questions: an interval needs 8")
    assert median(torch.tensor([])).value != median(torch.tensor([])).value
    same = median(torch.ones(20))
    assert (same.low, same.value, same.high, same.error) == (1, 1, 1, None)
    assert same.p_above(0.5) == 1
