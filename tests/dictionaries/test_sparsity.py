import pytest
import torch

from toolkit.dictionaries.sparsity import (
    batchtopk_candidates,
    batchtopk_cut,
    positions_above,
    topk_mask,
    topk_positions,
)


def scores() -> torch.Tensor:
    return torch.randn(30, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("floor", [0.0, 0.7])
def test_positions_above_are_those_of_a_loop(dtype, floor):
    values = scores().to(dtype)
    expected = [i for i, value in enumerate(values.flatten().tolist()) if value > torch.tensor(floor).to(dtype)]
    assert positions_above(values, floor).tolist() == expected


@pytest.mark.parametrize("last_cut", [0.0, 0.5, 1.2, 100.0], ids=["none", "low", "near", "far too high"])
@pytest.mark.parametrize("n_kept", [1, 90, 300])
def test_batchtopk_keeps_the_largest_of_the_batch_whatever_the_last_cut_was(last_cut, n_kept):
    values = scores()
    candidates = batchtopk_candidates(values, n_kept, last_cut)
    found = values.flatten()[candidates]
    kept = candidates[found >= batchtopk_cut(found, n_kept)]
    assert sorted(kept.tolist()) == sorted(values.flatten().topk(n_kept).indices.tolist())


def test_scores_of_zero_or_less_never_fire():
    values = scores()
    candidates = batchtopk_candidates(values, 1100, 0.0)
    assert len(candidates) == int((values > 0).sum()) < 1100
    assert batchtopk_cut(values.flatten()[candidates], 1100) == 0


def test_topk_keeps_the_largest_of_each_token():
    values = scores()
    expected = torch.stack([row >= row.sort(descending=True).values[4] for row in values])
    assert torch.equal(topk_mask(values, 5), expected)
    by_latent = values.t().contiguous()
    assert topk_positions(by_latent, 5).tolist() == expected.t().flatten().nonzero().flatten().tolist()
