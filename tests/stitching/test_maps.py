from collections.abc import Callable

import pytest
import torch

from toolkit.stitching.maps import AffineMap, identity_map, mean_shift, through_means
from toolkit.stitching.moments import Moments

MomentsOf = Callable[..., Moments]


def test_a_map_has_another_bias_at_the_first_token() -> None:
    weight, bias, first_bias = torch.eye(3)[:, :2], torch.tensor([1.0, 2.0]), torch.tensor([5.0, 7.0])
    stream = torch.arange(12.0).view(1, 4, 3)
    first = torch.tensor([[False, True, False, False]])
    mapped = AffineMap(weight=weight, bias=bias, first_bias=first_bias)(stream, first)
    assert torch.equal(mapped[0, 1], stream[0, 1, :2] + first_bias)
    assert torch.equal(mapped[0, 2], stream[0, 2, :2] + bias)


def test_a_truncated_map_brings_means_where_the_whole_map_does(moments_of: MomentsOf) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 5, generator=generator) + 3, torch.randn(50, 4, generator=generator) - 2
    moments = moments_of(x, y, 6)
    map_ = through_means(torch.randn(5, 4, generator=generator).double(), moments)
    for rank in range(4):
        cut = map_.truncated(rank, moments.front)
        front = moments.front
        for mean, bias, whole in (
            (front.mean, cut.bias, moments.rest.mean),
            (front.first_mean, cut.first_bias, moments.rest.first_mean),
        ):
            assert torch.allclose(mean @ cut.weight.double() + bias, whole, atol=1e-5)
    assert torch.allclose(map_.truncated(4, moments.front).weight, map_.weight, atol=1e-5)
    with pytest.raises(ValueError, match=r"rank 5: a map of width 5 to 4 has 0 to 4"):
        map_.truncated(5, moments.front)


def test_the_distance_from_the_identity_is_in_units_of_the_spread(moments_of: MomentsOf) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 64, generator=generator, dtype=torch.float64) + 3
    front = moments_of(x, x).front
    assert identity_map(64).from_identity(front) == 0
    q, r = torch.linalg.qr(torch.randn(64, 64, generator=generator, dtype=torch.float64))
    rotation = q * r.diagonal().sign()  # without the signs, rotations are not uniformly random
    assert through_means(rotation, moments_of(x, x)).from_identity(front) == pytest.approx(2**0.5, abs=0.05)
    assert through_means(torch.zeros_like(rotation), moments_of(x, x)).from_identity(front) == pytest.approx(1)
    assert mean_shift(moments_of(x, x + 2)).from_identity(front) == 0


def test_a_map_to_another_width_has_no_distance_from_the_identity(moments_of: MomentsOf) -> None:
    x = torch.eye(3)
    moments = moments_of(x, x[:, :2])
    with pytest.raises(ValueError, match="width 3 to 2"):
        through_means(torch.ones(3, 2).double(), moments).from_identity(moments.front)
