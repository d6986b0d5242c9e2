import pytest
import torch

from toolkit.geometry.components import Components, refitted_coordinates


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_they_are_the_best_projection():
    points = draw(30, 8) * torch.arange(8, 0, -1)
    components = Components.fit(points)
    centred = points - points.mean(dim=0)
    variances = torch.linalg.eigvalsh(centred.T @ centred).flip(0)
    torch.testing.assert_close(components.project(points, 3).square().sum(dim=0), variances[:3])
    assert components.variance_explained(3) == pytest.approx(float(variances[:3].sum() / variances.sum()), rel=1e-5)
    assert components.variance_explained(8) == pytest.approx(1)


def test_other_points_are_seen_from_the_same_place():
    components = Components.fit(draw(30, 8))
    assert components.project(components.mean[None] + components.directions[1], 3).tolist() == [
        pytest.approx([0, 1, 0], abs=1e-5)
    ]


def test_there_are_no_more_than_the_points_span():
    points = draw(4, 8)
    components = Components.fit(points)
    projected = components.project(points, 20)
    assert projected.shape == (4, 4)
    torch.testing.assert_close(torch.cdist(projected, projected), torch.cdist(points, points), rtol=1e-4, atol=1e-4)
    assert components.variance_explained(20) == pytest.approx(1)


def test_half_precision_is_decomposed_in_single():
    points = draw(30, 8).bfloat16()
    torch.testing.assert_close(Components.fit(points).mean, points.float().mean(dim=0))


def test_points_all_alike_are_refused():
    with pytest.raises(ValueError, match="3 points all alike"):
        Components.fit(torch.ones(3, 4))


def test_refitted_coordinates_are_those_of_a_fit_without_the_group():
    points = torch.randn(10, 16, generator=torch.Generator().manual_seed(0))
    left_out = torch.eye(10, dtype=torch.bool)[:3]
    found = refitted_coordinates(points, left_out, 4)
    for out, coordinates in zip(left_out, found, strict=True):
        expected = Components.fit(points[~out]).project(points, 4)
        torch.testing.assert_close(torch.cdist(coordinates, coordinates), torch.cdist(expected, expected))
    assert (
        refitted_coordinates(points, left_out, 12)[:, :, 9:].any().item() is False
    )  # nine points span eight dimensions
