import torch

from toolkit.dictionaries.partition import Partition


def test_projection_ties_shared_rows_and_masks_foreign_ones():
    # 3 models of 2 layers, width 4: streams are model-major.
    partition = Partition(n_models=3, n_shared=2, n_exclusive=1)
    original = torch.randn(7, 3 * 2 * 4, generator=torch.Generator().manual_seed(0))
    projected = original.clone()
    partition.project_(projected)
    rows, before = projected.view(7, 3, 8), original.view(7, 3, 8)
    for model in range(3):
        torch.testing.assert_close(rows[:2, model], before[:2].mean(dim=1))
        exclusive = rows[2 + model]
        assert exclusive.norm(dim=1).nonzero().flatten().tolist() == [model]
        assert torch.equal(exclusive[model], before[2 + model, model])
    assert torch.equal(rows[5:], before[5:])


def test_projection_is_idempotent_and_orthogonal():
    partition = Partition(n_models=2, n_shared=3, n_exclusive=2)
    original = torch.randn(8, 12, generator=torch.Generator().manual_seed(1))
    projected = original.clone()
    partition.project_(projected)
    again = projected.clone()
    partition.project_(again)
    torch.testing.assert_close(again, projected)
    torch.testing.assert_close(((original - projected) * projected).sum(), torch.tensor(0.0), atol=1e-5, rtol=0)
