"""Influence is the sum over all paths, and the fewest values that make up a share are the largest."""

import torch

from toolkit.attribution.influence import fewest, influence, without_dangling


def test_influence_is_the_sum_of_the_power_series() -> None:
    chance = torch.Generator().manual_seed(0)
    level = torch.tensor([1, 1, 2, 2, 3, 0, 0, 0, 5, 5])
    dense = torch.rand(10, 10, generator=chance, dtype=torch.float64) * (level[:, None] > level)  # [target, source]
    dense /= dense.sum(dim=1, keepdim=True).clamp(min=1e-9)
    start = torch.zeros(10, dtype=torch.float64)
    start[8:] = torch.tensor([0.7, 0.3])
    expected, power = torch.zeros(10, dtype=torch.float64), start
    for _ in range(6):
        power = power @ dense
        expected += power
    target, source = dense.nonzero(as_tuple=True)
    found = influence(start, level, torch.stack([source, target], dim=1), dense[target, source])
    torch.testing.assert_close(found, expected)
    assert found[8:].abs().max() == 0


def test_the_fewest_values_are_those_that_sorting_finds() -> None:
    chance = torch.Generator().manual_seed(0)
    for share in (0.0, 0.3, 0.8, 0.98):
        values = torch.rand(1000, generator=chance).pow(6) * (torch.rand(1000, generator=chance) < 0.7)
        kept = fewest(values, share)
        ranked = values.double().sort(descending=True).values
        n = int((ranked.cumsum(dim=0) < share * ranked.sum()).sum()) + 1
        assert int(kept.sum()) == n
        assert values[kept].min() >= values[~kept].max()
    assert fewest(torch.tensor([3.0, 0.0, 1e-20, 2.0]), 1.0)[[0, 3]].all()
    assert fewest(torch.tensor([1.0, 1.0, 1.0, 1.0]), 0.5).sum() == 2
    assert not fewest(torch.zeros(3), 0.5).any()
    assert not fewest(torch.zeros(0), 0.5).any()


def test_latents_that_lead_nowhere_or_come_from_nowhere_are_left_out_in_turn() -> None:
    # 0 → 1 → 2 → logit 5; 3 → logit but nothing into 3; token 4 → 0; the edge 1 → 2 is not kept
    edges = torch.tensor([[4, 0], [0, 1], [1, 2], [2, 5], [3, 5], [4, 5]])
    latents = torch.tensor([True, True, True, True, False, False])
    kept = torch.ones(6, dtype=torch.bool)
    found, left = without_dangling(latents, edges, kept)
    assert found.tolist() == [True, True, True, False, False, False]
    assert left.tolist() == [True, True, True, True, False, True]
    found, left = without_dangling(latents, edges, torch.tensor([True, True, False, True, True, True]))
    assert not found.any()
    assert left.tolist() == [False, False, False, False, False, True]
