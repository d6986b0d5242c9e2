import itertools

import pytest
import torch

from toolkit.geometry.parallelogram import pair_losses, parallelogram_loss, principal_components


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_pairs_against_a_naive_loop():
    first, second = draw(6, 4), draw(6, 4, seed=1)
    expected = [
        (a - b - c + d).norm() / (a @ a + b @ b + c @ c + d @ d).sqrt()
        for (a, b), (c, d) in itertools.combinations(zip(first, second, strict=True), 2)
    ]
    torch.testing.assert_close(pair_losses(first, second), torch.stack(expected))


def test_known_losses():
    first = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(pair_losses(first, first + torch.tensor([3.0, 0.0])), torch.zeros(1))
    a = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    torch.testing.assert_close(pair_losses(a, -a), torch.tensor([2.0]))  # opposite steps: the bound


def test_gaussian_noise_gives_about_one():
    loss = parallelogram_loss(draw(40, 64), draw(40, 64, seed=1), dims=64, generator=generator())
    assert loss.loss == pytest.approx(0.99, abs=0.03)
    assert loss.ratio == pytest.approx(1, abs=0.02)
    assert loss.n == 40 * 39 / 2


def test_a_common_step_is_found_and_shuffling_hides_it():
    first = draw(20, 16)
    step = 4 * draw(1, 16, seed=2)
    noisy = parallelogram_loss(first, first + step + 0.1 * draw(20, 16, seed=3), dims=8, generator=generator())
    assert noisy.loss < 0.1 < 0.3 < noisy.shuffled
    assert noisy.ratio == pytest.approx(noisy.loss / noisy.shuffled)


def test_a_common_offset_does_not_pass_for_structure():
    first, second = draw(20, 16), draw(20, 16, seed=1)
    plain = parallelogram_loss(first, second, dims=16, generator=generator())
    shifted = parallelogram_loss(first + 100, second + 100, dims=16, generator=generator())
    assert shifted.loss == pytest.approx(plain.loss, abs=1e-3)


def test_principal_components_are_the_best_projection():
    points = draw(30, 8) * torch.arange(8, 0, -1)
    projected, kept = principal_components(points, 3)
    centred = points - points.mean(dim=0)
    variances = torch.linalg.eigvalsh(centred.T @ centred).flip(0)
    torch.testing.assert_close(projected.square().sum(dim=0), variances[:3])
    assert kept == pytest.approx(float(variances[:3].sum() / variances.sum()), rel=1e-5)
    assert principal_components(points, 8)[1] == pytest.approx(1)


def test_chance_comes_from_the_generator():
    pairs = draw(10, 6), draw(10, 6, seed=1)
    nulls = [
        parallelogram_loss(*pairs, dims=4, generator=torch.Generator().manual_seed(seed)).shuffled for seed in (1, 1, 2)
    ]
    assert nulls[0] == nulls[1] != nulls[2]


def test_one_pair_is_refused():
    with pytest.raises(ValueError, match="1 word pairs make no parallelogram"):
        parallelogram_loss(draw(1, 4), draw(1, 4), dims=2, generator=generator())
