import torch

from toolkit.stitching.maps import AffineMap


def test_a_map_has_another_bias_at_the_first_token() -> None:
    weight, bias, first_bias = torch.eye(3)[:, :2], torch.tensor([1.0, 2.0]), torch.tensor([5.0, 7.0])
    stream = torch.arange(12.0).view(1, 4, 3)
    first = torch.tensor([[False, True, False, False]])
    mapped = AffineMap(weight=weight, bias=bias, first_bias=first_bias)(stream, first)
    assert torch.equal(mapped[0, 1], stream[0, 1, :2] + first_bias)
    assert torch.equal(mapped[0, 2], stream[0, 2, :2] + bias)
