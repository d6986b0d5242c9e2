import pytest
import torch

from toolkit.dictionaries.rules.batchtopk import entries_to_keep, smallest_by_topk, smallest_kept
from toolkit.dictionaries.sparse_pass import score_bias


@pytest.fixture
def batch(make_weights, make_batch):
    return make_batch(torch.randn(40, 15), make_weights(n_latents=30))


def products() -> torch.Tensor:
    return torch.randn(30, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("last_cut", [0.0, 0.5, 1.2, 100.0], ids=["none", "low", "near", "far too high"])
@pytest.mark.parametrize("n_kept", [1, 90, 300])
def test_batchtopk_keeps_the_largest_of_the_batch_whatever_the_last_cut_was(batch, last_cut, n_kept):
    bias = score_bias(batch)
    pattern, found = entries_to_keep(batch, products(), bias, n_kept, last_cut)
    assert torch.equal(found, products()[pattern.rows, pattern.columns])
    scores = products() + bias[:, None]
    found = scores[pattern.rows, pattern.columns]
    kept = found >= smallest_kept(found, n_kept)
    positions = (pattern.rows * 40 + pattern.columns)[kept]
    assert sorted(positions.tolist()) == sorted(scores.flatten().topk(n_kept).indices.tolist())


def test_scores_of_zero_or_less_never_fire(batch):
    batch.weights.b_enc.zero_()
    _, found = entries_to_keep(batch, products(), score_bias(batch), 1100, 0.0)
    assert len(found) == int((products() > 0).sum()) < 1100
    assert smallest_kept(found, 1100) == 0


@pytest.mark.parametrize("n", [1, 300, 1000])
def test_what_a_gpu_selects_by_is_the_value_of_the_same_rank(n: int) -> None:
    scores = torch.randn(1000, generator=torch.Generator().manual_seed(0)).round(decimals=1)  # with many ties
    assert torch.equal(smallest_by_topk(scores, n), scores.kthvalue(n).values)
