import pytest
import torch

from toolkit.dictionaries.rules.batchtopk import positions_to_keep, smallest_by_topk, smallest_kept


def scores() -> torch.Tensor:
    return torch.randn(30, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("last_cut", [0.0, 0.5, 1.2, 100.0], ids=["none", "low", "near", "far too high"])
@pytest.mark.parametrize("n_kept", [1, 90, 300])
def test_batchtopk_keeps_the_largest_of_the_batch_whatever_the_last_cut_was(last_cut, n_kept):
    values = scores()
    candidates = positions_to_keep(values, n_kept, last_cut)
    found = values.flatten()[candidates]
    kept = candidates[found >= smallest_kept(found, n_kept)]
    assert sorted(kept.tolist()) == sorted(values.flatten().topk(n_kept).indices.tolist())


def test_scores_of_zero_or_less_never_fire():
    values = scores()
    candidates = positions_to_keep(values, 1100, 0.0)
    assert len(candidates) == int((values > 0).sum()) < 1100
    assert smallest_kept(values.flatten()[candidates], 1100) == 0


@pytest.mark.parametrize("n", [1, 300, 1000])
def test_what_a_gpu_selects_by_is_the_value_of_the_same_rank(n: int) -> None:
    scores = torch.randn(1000, generator=torch.Generator().manual_seed(0)).round(decimals=1)  # with many ties
    assert torch.equal(smallest_by_topk(scores, n), scores.kthvalue(n).values)
