"""How well groups of latents persist is what a loop over crosscoders and latents counts."""

from statistics import median

import pytest
import torch

from toolkit.dictionaries.stability import Stability
from toolkit.experiments.crosscoder.study import persistence


def matches(seed: int) -> Stability:
    best, chance = torch.rand(2, 50, generator=torch.Generator().manual_seed(seed))
    return Stability(best=best, chance=chance)


def test_each_group_is_counted_in_every_other_crosscoder():
    matched = {one: [matches(10 * one + other) for other in range(3) if other != one] for one in range(3)}
    groups = {seed: {"even": torch.arange(50) % 2 == 0, "none": torch.zeros(50, dtype=torch.bool)} for seed in range(3)}
    groups[2]["even"][:] = False
    found = persistence(groups, matched)
    assert list(found) == ["even"]
    values = {seed: [float(each.best[k]) for each in matched[seed] for k in range(0, 50, 2)] for seed in (0, 1)}
    shares = [sum(value >= 0.7 for value in each) / len(each) for each in values.values()]
    even = found["even"]
    assert even.n == 50
    assert even.persist.value == pytest.approx(sum(shares) / 2)
    assert even.persist.low < min(shares) < max(shares) < even.persist.high
    assert even.best.value == pytest.approx(sum(sorted(each)[len(each) // 2 - 1] for each in values.values()) / 2)
    assert even.best.value == pytest.approx(sum(map(median, values.values())) / 2, abs=0.05)


def test_one_crosscoder_has_no_others():
    assert persistence({0: {"all": torch.ones(3, dtype=torch.bool)}}, {0: []}) == {}
