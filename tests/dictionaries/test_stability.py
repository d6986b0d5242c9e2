"""Latents that are known to be shared between two crosscoders are found again, and only they."""

import pytest
import torch

from toolkit.dictionaries.stability import PERSISTS, stability, stability_of_each


def test_a_crosscoder_finds_itself_in_any_order_and_any_scale_of_its_rows(random_crosscoder):
    one, other = random_crosscoder(n_latents=40), random_crosscoder(n_latents=40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    other.W_dec.copy_(one.W_dec[order] * torch.linspace(0.1, 9, 40)[:, None, None])
    found = stability(one, other)
    torch.testing.assert_close(found.best, torch.ones(40))
    assert found.persists.all()
    assert len(repr(found).splitlines()) == 2


def test_latents_of_one_alone_match_as_chance_does(random_crosscoder):
    one, other = random_crosscoder(n_latents=200), random_crosscoder(n_latents=200, seed=1)
    other.W_dec[:50] = one.W_dec[:50]
    found = stability(one, other)
    assert found.persists.tolist() == [True] * 50 + [False] * 150
    assert float(found.best[50:].mean()) == pytest.approx(float(found.chance[50:].mean()), abs=0.02)


def test_chance_is_that_of_the_space_that_the_other_s_rows_fill(random_crosscoder):
    """In a plane the best of many random directions is close to any: no latent is found again for that."""
    one, other = random_crosscoder(n_latents=100), random_crosscoder(n_latents=100, seed=1)
    for each in (one, other):
        each.W_dec[..., 1:] = 0  # one number for each model is left
    found = stability(one, other)
    assert found.persists.all()
    assert float(found.chance.median()) > PERSISTS


def test_models_weigh_alike_whatever_the_norms_of_their_streams(random_crosscoder):
    one, other = (random_crosscoder(n_latents=30, seed=seed, scale=(1.0, 0.001)) for seed in (0, 1))
    for each in (one, other):
        each.W_dec[:, 1] *= 1000
    raw = (random_crosscoder(n_latents=30, seed=seed) for seed in (0, 1))
    torch.testing.assert_close(stability(one, other).best, stability(*raw).best)


def test_each_of_several_is_compared_with_each_other_one_in_parts_of_any_size(random_crosscoder, monkeypatch):
    several = {seed: random_crosscoder(n_latents=50, seed=seed) for seed in (4, 0, 9)}
    expected = {
        one: [stability(several[one], several[other], seed=1) for other in several if other != one] for one in several
    }
    monkeypatch.setattr("toolkit.dictionaries.stability.LATENTS_AT_ONCE", 16)
    found = stability_of_each(several, seed=1)
    assert found.keys() == expected.keys()
    for one, others in expected.items():
        for figure in ("best", "chance"):
            ours, theirs = (torch.stack([getattr(each, figure) for each in some]) for some in (found[one], others))
            torch.testing.assert_close(ours, theirs)
    assert stability_of_each({4: several[4]}, seed=1) == {4: []}


def test_crosscoders_of_other_streams_are_refused(random_crosscoder):
    with pytest.raises(
        ValueError, match=r"read other streams \(base, distilled of width 32; base, distilled of width 8"
    ):
        stability(random_crosscoder(), random_crosscoder(d_model=8))
