from collections.abc import Callable

import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import LinearRegression, Ridge
from torch import Tensor

from toolkit.stitching.closed_form import (
    PENALTIES,
    orthogonal,
    ridge,
    variance_explained,
)
from toolkit.stitching.maps import AffineMap, identity_map, mean_shift, through_means
from toolkit.stitching.moments import Moments

N, D_FRONT, D_REST, N_FIRST = 300, 8, 6, 4
MomentsOf = Callable[..., Moments]


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(noise: float, seed: int = 0, d_rest: int = D_REST) -> tuple[Tensor, Tensor]:
    """Rows of x with a spread that falls by a factor of 1000 over its dimensions, and y = x W + b with noise."""
    x = normal(N, D_FRONT, seed=seed) * torch.logspace(2, -1, D_FRONT) + 50
    y = x @ normal(D_FRONT, d_rest, seed=100) + normal(d_rest, seed=101)
    return x, y + noise * normal(N, d_rest, seed=seed + 1)


def others(rows: Tensor) -> Tensor:
    return rows[N_FIRST:]


def apply(map_: AffineMap, x: Tensor) -> Tensor:
    return x @ map_.weight.double() + map_.bias


def explained(map_: AffineMap, x: Tensor, y: Tensor) -> float:
    return 1 - float((y - apply(map_, x)).square().sum() / (y - y.mean(dim=0)).square().sum())


def test_a_ridge_finds_a_planted_affine_map(moments_of: MomentsOf) -> None:
    (x, y), held_out = planted(0), planted(0, seed=7)
    found = ridge(moments_of(x, y), moments_of(*held_out))
    assert torch.allclose(found.weight.double(), normal(D_FRONT, D_REST, seed=100), rtol=2e-3)
    assert found.penalty == PENALTIES[0]
    assert variance_explained(found, moments_of(*held_out)) > 1 - 1e-6


def test_a_ridge_is_sklearns_with_the_penalty_that_predicts_other_documents_best(moments_of: MomentsOf) -> None:
    (x, y), (x_other, y_other) = planted(300.0), planted(300.0, seed=7)
    fit, chosen_by = moments_of(x, y, N_FIRST), moments_of(x_other, y_other, N_FIRST)
    mean_eigenvalue = float(fit.front.products.trace()) / D_FRONT
    truth = [
        Ridge(alpha=float(penalty) * mean_eigenvalue).fit(others(x).numpy(), others(y).numpy()) for penalty in PENALTIES
    ]
    errors = [((others(y_other).numpy() - each.predict(others(x_other).numpy())) ** 2).sum() for each in truth]
    best = min(range(len(truth)), key=errors.__getitem__)
    found = ridge(fit, chosen_by)
    assert 0 < best < len(PENALTIES) - 1
    assert found.penalty == PENALTIES[best]
    assert torch.allclose(found.weight.double(), torch.tensor(truth[best].coef_.T), rtol=1e-4, atol=1e-5)
    assert torch.allclose(found.bias.double(), torch.tensor(truth[best].intercept_), rtol=1e-4, atol=1e-3)


def test_an_orthogonal_map_is_scipys_about_the_means(moments_of: MomentsOf) -> None:
    x, y = planted(5.0, d_rest=D_FRONT)
    found = orthogonal(moments_of(x, y, N_FIRST))
    centred = [others(each) - others(each).mean(dim=0) for each in (x, y)]
    rotation, _ = orthogonal_procrustes(*(each.numpy() for each in centred))
    assert torch.allclose(found.weight.double(), torch.tensor(rotation), atol=1e-5)
    assert torch.allclose(apply(found, others(x)).mean(dim=0), others(y).mean(dim=0), rtol=1e-5)


@pytest.mark.parametrize("name", ["mean_shift", "orthogonal", "ridge"])
def test_every_fitted_map_brings_the_mean_of_first_tokens_to_that_of_first_tokens(
    name: str, moments_of: MomentsOf
) -> None:
    x, y = planted(5.0, d_rest=D_FRONT)
    x[:N_FIRST], y[:N_FIRST] = 5000 + normal(N_FIRST, D_FRONT, seed=3), -7000 + normal(N_FIRST, D_FRONT, seed=4)
    fit = moments_of(x, y, N_FIRST)
    maps = {"mean_shift": mean_shift, "orthogonal": orthogonal, "ridge": lambda moments: ridge(moments, moments)}
    map_ = maps[name](fit)
    first = torch.zeros(1, N, dtype=torch.bool)
    first[0, :N_FIRST] = True
    mapped = map_(x[None].float(), first)[0]
    assert torch.allclose(mapped[:N_FIRST].mean(dim=0).double(), y[:N_FIRST].mean(dim=0), rtol=1e-4)
    assert torch.allclose(others(mapped).mean(dim=0).double(), others(y).mean(dim=0), rtol=1e-4)


def test_the_variance_explained_is_that_of_the_mapped_tokens(moments_of: MomentsOf) -> None:
    (x, y), (x_other, y_other) = planted(20.0, d_rest=D_FRONT), planted(20.0, seed=7, d_rest=D_FRONT)
    fit, held_out = moments_of(x, y, N_FIRST), moments_of(x_other, y_other, N_FIRST)
    for map_ in (ridge(fit, held_out), orthogonal(fit), mean_shift(fit), identity_map(D_FRONT)):
        truth = explained(map_, others(x_other), others(y_other))
        assert variance_explained(map_, held_out) == pytest.approx(truth, abs=1e-5)


def test_a_truncated_ridge_is_the_best_map_of_its_rank_on_the_tokens_that_it_was_fitted_on(
    moments_of: MomentsOf,
) -> None:
    x, y = planted(2.0)
    fit = moments_of(x, y, N_FIRST)
    found = ridge(fit, fit)  # the smallest penalty: least squares, whose reduced-rank regression is known
    predicted = torch.tensor(LinearRegression().fit(others(x).numpy(), others(y).numpy()).predict(others(x).numpy()))
    left, values, right = torch.linalg.svd(predicted - predicted.mean(dim=0), full_matrices=False)
    for rank in (0, 2, 5):
        truth = (left[:, :rank] * values[:rank]) @ right[:rank] + predicted.mean(dim=0)
        cut = found.truncated(rank, fit.front)
        assert torch.allclose(apply(cut, others(x)), truth, rtol=1e-3, atol=1e-2)
        assert torch.linalg.matrix_rank(cut.weight, rtol=1e-5) == rank
        u, s, v = torch.linalg.svd(found.weight.double(), full_matrices=False)
        plain = through_means((u[:, :rank] * s[:rank]) @ v[:rank], fit)
        if rank:
            assert explained(cut, others(x), others(y)) > explained(plain, others(x), others(y))


def test_too_few_tokens_for_a_ridge_are_counted(moments_of: MomentsOf) -> None:
    x, y = planted(1.0)
    few, enough = moments_of(x[:18], y[:18]), moments_of(x[:19], y[:19])
    with pytest.raises(
        ValueError, match=r"17 tokens fit a ridge .* width 8 needs 18 .*: read more text, such as by a larger --tokens"
    ):
        ridge(few, enough)
    assert ridge(enough, enough).weight.isfinite().all()


def test_a_ridge_whose_penalty_no_document_chooses_is_refused(moments_of: MomentsOf) -> None:
    x, y = planted(1.0)
    with pytest.raises(ValueError, match="at least four documents"):
        ridge(moments_of(x, y), moments_of(x[:2], y[:2]))
