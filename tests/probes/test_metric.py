import pytest
import torch

from toolkit.probes.metric import Metric, Spread

GENERATOR = torch.Generator().manual_seed(0)
POINTS = torch.randn(500, 4, generator=GENERATOR, dtype=torch.float64) * torch.tensor([5.0, 1.0, 1.0, 0.1]) + 3


def test_without_shrinkage_points_become_white():
    inside = Metric(spread=Spread.of(POINTS), shrinkage=0.0).to(POINTS)
    torch.testing.assert_close(inside.T @ inside / 500, torch.eye(4, dtype=torch.float64))


def test_with_much_shrinkage_distances_are_raw_ones_but_for_one_factor():
    inside = Metric(spread=Spread.of(POINTS), shrinkage=1e6).to(POINTS)
    ratio = torch.pdist(inside) / torch.pdist(POINTS)
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-4, atol=0)
    assert inside.square().mean() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("shrinkage", [0.1, 100.0])
def test_points_and_directions_come_back(shrinkage):
    metric = Metric(spread=Spread.of(POINTS), shrinkage=shrinkage)
    torch.testing.assert_close(metric.back(metric.to(POINTS)), POINTS)
    weights = torch.randn(2, 4, generator=GENERATOR, dtype=torch.float64)
    products = (POINTS - POINTS.mean(dim=0)) @ metric.gradient_back(weights).T
    torch.testing.assert_close(products, metric.to(POINTS) @ weights.T)


def test_points_all_alike_keep_their_distances():
    metric = Metric(spread=Spread.of(torch.full((5, 3), 0.1)), shrinkage=0.1)
    torch.testing.assert_close(metric.to(POINTS[:, :3]), (POINTS[:, :3] - 0.1) @ metric.spread.directions)
