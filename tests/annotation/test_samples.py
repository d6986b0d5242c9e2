from collections import Counter

import pytest
import torch

from toolkit.annotation.reservoirs import Reservoir
from toolkit.annotation.samples import ANY, FIRING, AnySample, FiringSample, Stretch
from toolkit.annotation.stretches import LONGEST, Stretches


def stretches(codes: torch.Tensor, first: int = 0, parts: int = 1) -> Stretches:
    """Stretches of one token, each of its own document; `codes` are [stretch, column]."""
    n = len(codes)
    ids = torch.full((n, LONGEST), -1, dtype=torch.int32)
    ids[:, 0] = torch.arange(first, first + n)
    placed = torch.zeros(n, LONGEST, codes.shape[1])
    placed[:, 0] = codes
    document = torch.arange(first, first + n)
    return Stretches(document=document, token_ids=ids, parts=torch.full((n,), parts), codes=placed)


def test_a_reservoir_keeps_the_largest_keys_of_each_line_and_tells_what_is_new():
    chance = torch.Generator().manual_seed(0)
    reservoir, kept = Reservoir(3, 4), torch.full((3, 4), -1)
    offered = torch.rand(3, 50, generator=chance)
    offered[1, 2:] = -torch.inf
    for first in range(0, 50, 7):
        line, place, item = reservoir.offer(offered[:, first : first + 7])
        kept[line, place] = first + item
    for line, n in enumerate((4, 2, 4)):
        filled = reservoir.keys[line].isfinite()
        assert int(filled.sum()) == n
        assert set(kept[line][filled].tolist()) == set(offered[line].topk(n).indices.tolist())
        assert torch.equal(offered[line, kept[line][filled]], reservoir.keys[line][filled])


def test_a_latents_sample_is_of_its_firings_alone_and_as_large_whatever_is_read():
    chance = torch.Generator().manual_seed(1)
    sample = FiringSample(2)
    for first in range(0, 3000, 300):
        codes = torch.rand(300, 2, generator=chance)
        codes[:, 1] *= torch.arange(first, first + 300) % 100 == 0
        sample.add(stretches(codes, first), torch.rand(300, generator=chance))
    often, seldom = (sample.of(latent, sample.places(latent)) for latent in (0, 1))
    assert len(often) == FIRING
    assert sorted(each.document for each in seldom) == list(range(0, 3000, 100))
    assert [each.codes for each in often] == sorted(each.codes for each in often)
    assert all(each.token_ids == (each.document,) for each in often)
    assert sum(each.document < 1500 for each in often) == pytest.approx(50, abs=20)


def silent(sample: AnySample, wanted: dict[int, int], likeness: float = 0.5) -> tuple[list[Stretch], list[Stretch]]:
    """Negatives of latent 0, whose neighbour is latent 1."""
    chance = torch.Generator().manual_seed(0)
    return sample.silent(0, torch.tensor([1]), torch.tensor([likeness]), wanted, chance)


def test_near_misses_are_drawn_by_how_strongly_neighbours_fire():
    codes = torch.zeros(1000, 3)
    codes[:500, 1], codes[500:900, 1], codes[900:, 0] = 0.01, 10.0, 1.0
    sample = AnySample(3)
    sample.add(stretches(codes), torch.rand(1000, generator=torch.Generator().manual_seed(0)))
    near, far = silent(sample, {1: 40})
    assert (len(near), len(far)) == (40, 0)  # no stretch is silent in all neighbours, so near misses fill in
    assert all(500 <= each.document < 900 for each in near)


def test_a_near_miss_of_a_latent_that_is_no_neighbour_is_none():
    codes = torch.zeros(100, 3)
    codes[:50, 2] = 1.0
    sample = AnySample(3)
    sample.add(stretches(codes), torch.rand(100, generator=torch.Generator().manual_seed(0)))
    near, far = silent(sample, {1: 20})
    assert (len(near), len(far)) == (0, 20)
    assert {each.document < 50 for each in far} == {True, False}


def test_a_neighbour_whose_row_points_away_makes_no_near_miss():
    sample = AnySample(2)
    sample.add(stretches(torch.tensor([[0.0, 1.0]] * 20)), torch.rand(20, generator=torch.Generator().manual_seed(0)))
    near, far = silent(sample, {1: 10}, likeness=-0.5)
    assert (len(near), len(far)) == (0, 10)


def test_negatives_are_fewer_where_a_region_has_fewer_and_none_is_taken_from_another():
    codes = torch.zeros(60, 2)
    codes[::2, 1] = 1.0
    sample = AnySample(2)
    keys = torch.rand(60, generator=torch.Generator().manual_seed(0))
    sample.add(stretches(codes, parts=1), keys)
    sample.add(stretches(codes[:7], 60, parts=2), keys[:7])
    near, far = silent(sample, {1: 20, 2: 30, 4: 5})
    assert Counter(each.parts for each in (*near, *far)) == {1: 20, 2: 7}
    assert (len(near), len(far)) == (14, 13)
    assert sample.n == 67 < ANY
