import pytest
import torch

from toolkit.geometry.random_cycle import random_cycle


@pytest.mark.parametrize("n", [2, 3, 24])
def test_everyone_gets_another_one_and_all_lie_on_one_cycle(n: int):
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        others, place, seen = random_cycle(n, generator).tolist(), 0, set()
        for _ in range(n):
            assert others[place] != place
            place = others[place]
            seen.add(place)
        assert seen == set(range(n))


def test_every_other_one_is_as_likely():
    generator = torch.Generator().manual_seed(0)
    given = torch.stack([random_cycle(4, generator) for _ in range(3000)])
    for thing in range(4):
        share = torch.bincount(given[:, thing], minlength=4) / 3000
        assert share.tolist() == pytest.approx([0 if other == thing else 1 / 3 for other in range(4)], abs=0.04)
