import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes

from toolkit.geometry.procrustes import procrustes


def _points(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _rotation(d: int) -> torch.Tensor:
    return torch.linalg.qr(_points(d, d, seed=9))[0]


def test_a_planted_rotation_scale_and_shift_are_found() -> None:
    x = _points(30, 5)
    found = procrustes(x, 2.5 * x @ _rotation(5) + 7)
    assert torch.allclose(found.rotation, _rotation(5))
    assert found.scale == pytest.approx(2.5)
    assert found.agreement == pytest.approx(1)
    assert torch.allclose(found(x), 2.5 * x @ _rotation(5) + 7)


@pytest.mark.parametrize("scaled", [True, False])
def test_the_fit_is_scipys_and_its_agreement_the_variance_that_it_explains(scaled: bool) -> None:
    x, y = _points(30, 5), _points(30, 5, seed=1) + 0.5 * _points(30, 5)
    found = procrustes(x, y, scaled=scaled)
    centred = [(each - each.mean(dim=0)).numpy() for each in (x, y)]
    rotation, overlap = orthogonal_procrustes(*centred)
    assert np.allclose(found.rotation, rotation)
    assert found.scale == pytest.approx(overlap / (centred[0] ** 2).sum() if scaled else 1)
    assert found.agreement == pytest.approx(1 - float((y - found(x)).square().sum()) / (centred[1] ** 2).sum())


def test_with_a_scale_the_agreement_is_the_same_in_both_directions() -> None:
    x, y = _points(6, 9), 3 * _points(6, 9, seed=1)
    assert procrustes(x, y).agreement == pytest.approx(procrustes(y, x).agreement)


def test_of_fewer_points_than_dimensions_only_the_distances_are_compared() -> None:
    x = _points(4, 12)
    elsewhere = torch.cat([torch.zeros(4, 12), x @ _rotation(12)], dim=1)
    assert procrustes(torch.cat([x, torch.zeros(4, 12)], dim=1), elsewhere).agreement == pytest.approx(1)
    assert procrustes(x[:2], _points(2, 12, seed=3)).agreement == pytest.approx(1)
    assert procrustes(x, _points(4, 12, seed=3)).agreement < 0.95


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (torch.zeros(3, 2), torch.zeros(3, 4), r"\[3, 2\] and \[3, 4\]"),
        (torch.ones(1, 2), torch.ones(1, 2), "1 points"),
        (torch.ones(3, 2), torch.eye(3)[:, :2], "all alike"),
    ],
)
def test_points_without_a_shape_to_compare_are_refused(x: torch.Tensor, y: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        procrustes(x, y)
