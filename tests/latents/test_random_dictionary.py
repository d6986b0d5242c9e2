import torch

from toolkit.latents.random_dictionary import firings, random_codes

X = torch.randn(3000, 24, generator=torch.Generator().manual_seed(0)).exp()
CHOOSING = torch.arange(3000) % 3 != 0


def test_random_units_fire_as_often_as_they_are_told():
    asked = torch.randint(1, 400, (150,), generator=torch.Generator().manual_seed(1))
    codes = random_codes(X, asked, CHOOSING, seed=5)
    assert torch.equal(firings(codes, CHOOSING), asked)
    assert torch.equal((codes.to_dense()[CHOOSING] > 0).sum(dim=0), asked)
    ours, others = (codes.to_dense()[half].gt(0).float().mean() for half in (CHOOSING, ~CHOOSING))
    assert 0.8 < others / ours < 1.25


def test_codes_rise_along_gaussian_directions():
    codes = random_codes(X, torch.tensor([700, 1999]), CHOOSING, seed=5).to_dense()
    directions = torch.randn(2, 24, generator=torch.Generator().manual_seed(5))
    for unit, direction in zip(codes.t(), directions, strict=True):
        fires = unit > 0
        step = (X @ direction)[fires] - unit[fires]
        assert step.std() < 1e-4


def test_dead_units_are_left_out_and_units_that_always_fire_are_silent_once():
    codes = random_codes(X, torch.tensor([0, 10, 2000]), CHOOSING, seed=0)
    assert firings(codes, CHOOSING).tolist() == [10, 1999]


def test_draws_differ_by_seed_alone():
    first, again, other = (
        random_codes(X, torch.tensor([50] * 3), CHOOSING, seed=seed).to_dense() for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_units_that_never_fire_leave_an_empty_dictionary():
    codes = random_codes(torch.randn(6, 3), torch.zeros(4, dtype=torch.long), torch.ones(6, dtype=torch.bool), 0)
    assert codes.shape == (6, 0)
