import itertools
import math
from collections.abc import Sequence

import pytest
import torch

from toolkit.geometry import parallelogram
from toolkit.geometry.components import Components
from toolkit.geometry.parallelogram import (
    PairDraws,
    ParallelogramLoss,
    parallelogram_loss,
    relative_losses,
    scaled_losses,
)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draws(n_pairs: int, seed: int = 0, **settings: int) -> PairDraws:
    return PairDraws.draw(n_pairs, torch.Generator().manual_seed(seed), **settings)


def noisy_step(n_pairs: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs that share a step, but for noise, with all their words centred."""
    first = draw(n_pairs, 8, seed=seed)
    words = torch.cat([first, first + 3 * draw(8, seed=100) + noise * draw(n_pairs, 8, seed=seed + 1)])
    first, second = (words - words.mean(dim=0)).split(n_pairs)
    return first, second


def naive(first: torch.Tensor, second: torch.Tensor, members: Sequence[int]) -> float:
    """Mean relative loss over every two members that are different pairs."""
    losses = [
        (first[i] - second[i] - first[j] + second[j]).norm()
        / (first[i] @ first[i] + second[i] @ second[i] + first[j] @ first[j] + second[j] @ second[j]).sqrt()
        for i, j in itertools.combinations(members, 2)
        if i != j
    ]
    return float(torch.stack(losses).mean())


def strangers(partners: torch.Tensor) -> list[tuple[int, int]]:
    """Every two shuffled pairs whose words come from four pairs."""
    return [
        (i, j)
        for i, j in itertools.combinations(range(len(partners)), 2)
        if len({i, j, *partners[[i, j]].tolist()}) == 4
    ]


def test_relative_losses_against_a_naive_loop():
    first, second = draw(2, 6, 4), draw(2, 6, 4, seed=1)
    losses = relative_losses(first, second)
    for block, i, j in itertools.product(range(2), range(6), range(6)):
        a, b, c, d = first[block, i], second[block, i], first[block, j], second[block, j]
        expected = (a - b - c + d).norm() / (a @ a + b @ b + c @ c + d @ d).sqrt()
        torch.testing.assert_close(losses[block, i, j], expected)


def test_known_losses():
    first = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
    torch.testing.assert_close(relative_losses(first, first + torch.tensor([3.0, 0.0])), torch.zeros(1, 2, 2))
    a = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    assert relative_losses(a, -a)[0, 0, 1] == 2  # opposite steps: the bound
    assert scaled_losses(a, -a)[0, 0, 1] == 16


def test_gaussian_noise_gives_what_is_known_of_it():
    # a − b − c + d is twice a projection of (a, b, c, d) on a quarter of its dimensions: 2 √Beta(d/2, 3d/2).
    expected = 2 * math.exp(math.lgamma(5.5) + math.lgamma(20) - math.lgamma(5) - math.lgamma(20.5))
    first, second = draw(400, 10), draw(400, 10, seed=1)
    relative = parallelogram_loss(first, second, draws(400, shuffles=5))
    assert relative.loss == pytest.approx(expected, abs=0.01)
    assert relative.ratio == pytest.approx(1, abs=0.01)
    scaled = parallelogram_loss(first, second, draws(400, shuffles=5), scaled_losses)
    assert scaled.loss == pytest.approx(4, abs=0.1)


def test_the_scaled_loss_does_not_know_units():
    first, second = draw(1, 20, 8), draw(1, 20, 8, seed=1)
    torch.testing.assert_close(scaled_losses(7 * first, 7 * second), scaled_losses(first, second))
    other_words = torch.cat([first[:, :10], 100 * first[:, 10:]], dim=1)
    assert scaled_losses(other_words, second)[0, 0, 1] < scaled_losses(first, second)[0, 0, 1]  # one scale for all


def test_loss_and_shuffles_against_naive_loops():
    first, second = noisy_step(7, noise=1.0)
    drawn = draws(7, shuffles=4)
    loss = parallelogram_loss(first, second, drawn)
    assert (loss.n, loss.n_pairs) == (21, 7)
    assert loss.loss == pytest.approx(naive(first, second, range(7)))
    means = [
        sum(naive(first, second[partners], [i, j]) for i, j in strangers(partners)) / len(strangers(partners))
        for partners in drawn.partners
    ]
    assert loss.shuffled_means.tolist() == pytest.approx(means)
    assert loss.shuffled == pytest.approx(sum(means) / 4)


def test_pairs_are_left_out_of_losses_and_shuffles_as_in_a_naive_loop():
    first, second = noisy_step(9, noise=1.0)
    drawn = draws(9, shuffles=3)
    found = parallelogram_loss(first, second, drawn)
    for group, left_out in enumerate(drawn.left_out):
        kept = set((~left_out).nonzero().flatten().tolist())
        assert float(found.without[group]) == pytest.approx(naive(first, second, sorted(kept)))
        losses = [
            naive(first, second[partners], [i, j])
            for partners in drawn.partners
            for i, j in strangers(partners)
            if {i, j, *partners[[i, j]].tolist()} <= kept
        ]
        assert float(found.shuffled_without[group]) == pytest.approx(sum(losses) / len(losses))


def test_refitted_coordinates_are_what_pairs_are_left_out_of():
    first, second = noisy_step(9, noise=1.0)
    drawn = draws(9, shuffles=3)
    same = torch.stack([first, second], dim=1).expand(9, -1, -1, -1)
    given, refitted, other = (
        parallelogram_loss(first, second, drawn, refitted=each) for each in (None, same, 2 * same + same.flip(3))
    )
    assert torch.equal(given.without, refitted.without)
    assert given.loss == other.loss
    assert not torch.equal(given.without, other.without)


def test_seven_pairs_have_a_gap_without_interval():
    gap = parallelogram_loss(*noisy_step(7, noise=0.3), draws(7)).gap_estimate
    assert (gap.low, gap.note) == (None, "7 word pairs: an interval needs 8")


def test_gaps_of_the_same_draws_are_compared_pair_by_pair():
    drawn = draws(20)
    clear, dim = (parallelogram_loss(*noisy_step(20, noise), drawn) for noise in (0.3, 0.4))
    change = clear.gap_beyond(dim)
    assert change.value == pytest.approx(clear.gap - dim.gap)
    assert change.error < clear.gap_estimate.error
    assert clear.gap_beyond(clear).value == 0


def test_a_common_step_is_found_and_shuffling_hides_it():
    loss = parallelogram_loss(*noisy_step(20, noise=0.3), draws(20))
    assert loss.loss < 0.15 < 0.3 < loss.shuffled
    assert loss.gap == pytest.approx(loss.shuffled - loss.loss)
    assert loss.gap_estimate.low > 0.1
    assert loss.p_value == pytest.approx(1 / 101)


def test_chance_passes_for_chance():
    losses = [parallelogram_loss(draw(20, 8, seed=i), draw(20, 8, seed=50 + i), draws(20)) for i in range(20)]
    assert sum(loss.p_value < 0.05 for loss in losses) <= 3
    assert 0.3 < sum(loss.p_value for loss in losses) / 20 < 0.7


def test_a_common_offset_does_not_pass_for_structure():
    def loss_of(first: torch.Tensor, second: torch.Tensor) -> ParallelogramLoss:
        components = Components.fit(torch.cat([first, second]))
        return parallelogram_loss(components.project(first, 16), components.project(second, 16), draws(20))

    first, second = draw(20, 16), draw(20, 16, seed=1)
    assert loss_of(first + 100, second + 100).loss == pytest.approx(loss_of(first, second).loss, abs=1e-6)
    raw = parallelogram_loss(first + 100, second + 100, draws(20))
    assert raw.loss < 0.05  # what centring prevents


def test_quantiles_are_those_of_all_pairs_of_pairs():
    first, second = noisy_step(15, noise=1.0)
    loss = parallelogram_loss(first, second, draws(15, shuffles=1))
    values = torch.tensor([naive(first, second, pair) for pair in itertools.combinations(range(15), 2)])
    torch.testing.assert_close(loss.quantiles[[0, 50, 100]].float(), values.sort().values[[0, 52, 104]])
    assert loss.median == pytest.approx(float(values.median()))
    assert len(loss.shuffled_quantiles) == 101
    assert loss.shuffled_quantiles[50] > loss.median


@pytest.mark.parametrize("at_once", [1, 10**6])
def test_shuffled_quantiles_are_a_shuffle_s_on_average(monkeypatch: pytest.MonkeyPatch, at_once: int):
    monkeypatch.setattr(parallelogram, "LOSSES_AT_ONCE", at_once)
    first, second = noisy_step(12, noise=1.0)
    drawn = draws(12, shuffles=3)
    by_shuffle = [
        torch.tensor([naive(first, second[partners], pair) for pair in strangers(partners)]).quantile(
            torch.linspace(0, 1, 101)
        )
        for partners in drawn.partners
    ]
    found = parallelogram_loss(first, second, drawn).shuffled_quantiles
    torch.testing.assert_close(found.float(), torch.stack(by_shuffle).mean(dim=0))


def test_blocks_estimate_the_same_loss(monkeypatch: pytest.MonkeyPatch):
    first, second = noisy_step(200, noise=1.0)
    whole = parallelogram_loss(first, second, draws(200, shuffles=10))
    monkeypatch.setattr(parallelogram, "MOST_QUADRUPLES", 4000)
    part = parallelogram_loss(first, second, draws(200, shuffles=10))
    assert part.n <= 4000 < whole.n == 200 * 199 / 2
    assert part.loss == pytest.approx(whole.loss, abs=0.01)
    assert part.gap == pytest.approx(whole.gap, abs=0.015)


@pytest.mark.parametrize("n_pairs", [4, 5, 24])
def test_a_shuffle_gives_no_word_its_own_partner(n_pairs: int):
    partners = draws(n_pairs, shuffles=50).partners
    assert (partners.sort(dim=1).values == torch.arange(n_pairs)).all()
    assert (partners != torch.arange(n_pairs)).all()


def test_every_other_partner_is_as_likely():
    partners = draws(5, shuffles=4000).partners
    share = (partners[:, 0, None] == torch.arange(5)).double().mean(dim=0)
    assert share.tolist() == pytest.approx([0, 0.25, 0.25, 0.25, 0.25], abs=0.03)


def test_each_pair_is_left_out_once_and_of_many_several_together():
    few, many = draws(24).left_out, draws(100).left_out
    assert few.sum(dim=0).tolist() == few.sum(dim=1).tolist() == [1] * 24
    assert many.shape == (40, 100)
    assert (many.sum(dim=0) == 1).all()
    assert set(many.sum(dim=1).tolist()) == {2, 3}


def test_few_pairs_are_all_compared():
    assert draws(24).blocks.tolist() == [list(range(24))]


def test_many_pairs_are_compared_within_random_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parallelogram, "MOST_QUADRUPLES", 1000)
    blocks = draws(100).blocks
    n_blocks, size = blocks.shape
    assert 900 < n_blocks * size * (size - 1) / 2 <= 1000
    assert len(blocks.unique()) == n_blocks * size == 100
    assert blocks.tolist() != draws(100, seed=1).blocks.tolist()


def test_chance_comes_from_the_generator():
    one, same, other = draws(9, seed=1), draws(9, seed=1), draws(9, seed=2)
    assert torch.equal(one.partners, same.partners)
    assert not torch.equal(one.partners, other.partners)


def test_too_few_pairs_are_refused():
    with pytest.raises(ValueError, match="3 word pairs have no shuffled ones"):
        draws(3)
