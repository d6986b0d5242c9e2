import pytest
import torch

from toolkit.experiments.layer_divergence.study import divergence, farthest_layer_shares, farthest_layers


def test_closed_forms():
    first = torch.tensor([[3.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    second = torch.tensor([[0.0, 4.0], [1.0, 1.0], [-2.0, 0.0], [0.0, 0.0]])
    expected = [[5, 5 / 3.5, 0], [0, 0, 1], [4, 2, -1], [0, 0, 0]]
    torch.testing.assert_close(divergence(first, second), torch.tensor(expected))


def test_half_precision_is_measured_in_single():
    first, second = torch.full((1, 4096), 30.0).half(), torch.full((1, 4096), -30.0).half()
    assert divergence(first, second)[0].tolist() == pytest.approx([3840, 2, -1])


def test_the_farthest_layer_has_the_largest_distances_and_the_smallest_cosine():
    means = torch.tensor([[1.0, 0.5, 0.9], [3.0, 0.2, 0.8], [2.0, 0.7, -0.5]])
    assert farthest_layers(means).tolist() == [1, 2, 2]
    assert farthest_layers(torch.stack([means, means.flip(0)])).tolist() == [[1, 2, 2], [1, 0, 0]]


def test_resamples_agree_where_all_documents_do_and_are_torn_where_half_do():
    generator = torch.Generator().manual_seed(0)
    sums = torch.zeros(40, 2, 3, dtype=torch.float64)
    sums[:, 1, 0] = 1  # every document: layer 1
    sums[:20, 0, 1], sums[20:, 1, 1] = 1, 1.001  # one half each
    sums[:, 0, 2] = 1
    shares = farthest_layer_shares(sums, generator)
    assert shares.tolist()[::2] == [1, 1]
    assert shares[1] == pytest.approx(0.5, abs=0.1)
