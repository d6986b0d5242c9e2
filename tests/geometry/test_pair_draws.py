import pytest
import torch

from toolkit.geometry import pair_draws
from toolkit.geometry.pair_draws import PairDraws


def draw(n_pairs: int, seed: int = 0, **settings: int) -> PairDraws:
    return PairDraws.draw(n_pairs, torch.Generator().manual_seed(seed), **settings)


@pytest.mark.parametrize("n_pairs", [4, 5, 24])
def test_a_shuffle_gives_no_word_its_own_partner(n_pairs: int):
    partners = draw(n_pairs, shuffles=50).partners
    assert (partners.sort(dim=1).values == torch.arange(n_pairs)).all()
    assert (partners != torch.arange(n_pairs)).all()


def test_every_other_partner_is_as_likely():
    partners = draw(5, shuffles=4000).partners
    share = (partners[:, 0, None] == torch.arange(5)).double().mean(dim=0)
    assert share.tolist() == pytest.approx([0, 0.25, 0.25, 0.25, 0.25], abs=0.03)


def test_a_resample_holds_as_many_pairs():
    weights = draw(24, resamples=2000).weights
    assert (weights.sum(dim=1) == 24).all()
    assert weights.mean(dim=0).tolist() == pytest.approx([1] * 24, abs=0.1)
    assert float((weights == 0).double().mean()) == pytest.approx((1 - 1 / 24) ** 24, abs=0.01)


def test_few_pairs_are_all_compared():
    assert draw(24).blocks.tolist() == [list(range(24))]


def test_many_pairs_are_compared_within_random_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pair_draws, "MOST_QUADRUPLES", 1000)
    blocks = draw(100).blocks
    n_blocks, size = blocks.shape
    assert 900 < n_blocks * size * (size - 1) / 2 <= 1000
    assert len(blocks.unique()) == n_blocks * size == 100
    assert blocks.tolist() != draw(100, seed=1).blocks.tolist()


def test_chance_comes_from_the_generator():
    one, same, other = draw(9, seed=1), draw(9, seed=1), draw(9, seed=2)
    assert torch.equal(one.partners, same.partners)
    assert torch.equal(one.weights, same.weights)
    assert not torch.equal(one.weights, other.weights)


def test_too_few_pairs_are_refused():
    with pytest.raises(ValueError, match="3 word pairs have no shuffled ones"):
        draw(3)
