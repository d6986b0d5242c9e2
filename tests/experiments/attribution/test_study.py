"""Slopes and correlations of edges, with intervals over their sources."""

import pytest
import torch

from toolkit.experiments.attribution.study import agreement, margin, without_each


def test_exact_predictions_have_slope_and_correlation_one() -> None:
    predicted, sources = torch.arange(-10.0, 11.0).double(), torch.arange(21) % 9
    found = agreement(predicted, predicted, sources)
    assert (found.slope.value, found.n, found.sources) == (1, 21, 9)
    assert found.r.value == pytest.approx(1, abs=1e-9)
    assert found.r.low == pytest.approx(1, abs=1e-9)
    halved = agreement(predicted, predicted / 2, sources)
    assert halved.slope.value == 0.5


def test_intervals_hold_how_sources_vary_and_stay_in_range() -> None:
    chance = torch.Generator().manual_seed(0)
    sources = torch.arange(200) % 20
    predicted = torch.randn(200, generator=chance, dtype=torch.float64)
    of_source = 1 + torch.randn(20, generator=chance, dtype=torch.float64)
    found = agreement(predicted, predicted * of_source[sources], sources)
    assert found.slope.low is not None
    assert found.slope.high is not None
    assert found.slope.low < float(of_source.mean()) < found.slope.high
    assert found.slope.high - found.slope.low > 0.5
    assert found.r.low is not None
    assert found.r.high is not None
    assert -1 < found.r.low < found.r.value < found.r.high < 1
    few = agreement(predicted[:5], predicted[:5], sources[:5])
    assert few.slope.low is None
    assert "source latents" in few.slope.note


def test_the_margin_over_shuffled_predictions_can_fail() -> None:
    chance = torch.Generator().manual_seed(0)
    sources = torch.arange(100) % 10
    predicted, other, noise = torch.randn(3, 100, generator=chance, dtype=torch.float64)
    good = without_each(margin, sources, predicted, other, predicted + noise / 10)
    nothing = without_each(margin, sources, predicted, other, noise)
    assert good.p_above(0.0) < 0.001
    assert nothing.p_above(0.0) > 0.05
