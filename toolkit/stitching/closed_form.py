"""Maps between two streams that follow from their moments in closed form: orthogonal, and ridge."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.geometry.procrustes import closest_rotation
from toolkit.leaving_out import TooFewError
from toolkit.stitching.maps import AffineMap, through_means
from toolkit.stitching.moments import Moments

PENALTIES = torch.logspace(-8, 2, 21, dtype=torch.float64)
"""Penalties of a ridge that are tried, as multiples of the mean eigenvalue of the front's second moments."""
TOKENS_A_WEIGHT = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeMap(AffineMap):
    """A ridge, with the penalty that other documents chose."""

    penalty: float
    """As a multiple of the mean eigenvalue of the front's second moments."""


def orthogonal(moments: Moments) -> AffineMap:
    """Return the rotation about the means that brings x closest to y: Procrustes without a scale.

    A stream's length matters to the layers that add to it, so an isometry is a hypothesis of its own; whatever a scale
    would gain shows in the ridge.
    """
    rotation, _ = closest_rotation(moments.cross)
    return through_means(rotation, moments)


def ridge(fit: Moments, chosen_by: Moments) -> RidgeMap:
    """Return the ridge regression of y on x with the penalty that predicts the documents of `chosen_by` best.

    The bias is not penalised. All penalties come from one eigendecomposition of the front's second moments, and their
    errors from the moments alone. Raises `TooFewError`, a `ValueError`, for fewer than 2 (d + 1) tokens to fit a front
    of width d: at d + 1 the regression passes through every token, errors on others grow without bound, and at twice
    that the tokens' own noise still doubles them.
    """
    check_tokens(fit, chosen_by)
    values, vectors = fit.front.eigen
    target = vectors.T @ fit.cross  # [eigenvector, d_rest]
    shrunk = 1 / (values + PENALTIES.to(values)[:, None] * values.mean())  # [penalty, eigenvector]
    x, cross = _about(chosen_by, fit)
    gain = (target * (vectors.T @ cross)).sum(dim=1)
    cost = (vectors.T @ x @ vectors) * (target @ target.T)
    errors = ((shrunk @ cost) * shrunk).sum(dim=1) - 2 * shrunk @ gain  # less Σ ‖y − mean‖², the same for all
    best = int(errors.argmin())
    found = through_means(vectors @ (shrunk[best][:, None] * target), fit)
    return RidgeMap(
        weight=found.weight,
        bias=found.bias,
        first_bias=found.first_bias,
        penalty=float(PENALTIES[best]),
    )


def variance_explained(map_: AffineMap, moments: Moments) -> float:
    """Return 1 − Σ‖y − (xW + b)‖² / Σ‖y − mean of y‖² over the tokens of the moments, first tokens apart.

    Below 0, the mean of y is the better guess.
    """
    weight = map_.weight.to(moments.cross)
    x, y = moments.front, moments.rest
    left = y.mean - x.mean @ weight - map_.bias.to(weight)
    explained = 2 * (weight * moments.cross).sum() - (weight * (x.products @ weight)).sum()
    return float((explained - moments.n * left.square().sum()) / y.products.trace())


def check_tokens(fit: Moments, chosen_by: Moments) -> None:
    """Raise `TooFewError` where a ridge has too few tokens to be fitted on, or none to choose its penalty."""
    width = len(fit.front.mean)
    least = TOKENS_A_WEIGHT * (width + 1)
    if fit.n < least:
        raise TooFewError(
            f"{fit.n:,} tokens fit a ridge between streams, and a stream of width {width:,} needs {least:,}"
            f" ({TOKENS_A_WEIGHT} for each weight of an output): read more text, such as by a larger --tokens"
        )
    if chosen_by.n < 2:
        raise TooFewError(
            "no documents are left to choose the penalty of a ridge: give at least four documents, of which every"
            " fourth chooses"
        )


def _about(
    moments: Moments, means: Moments
) -> tuple[Float[Tensor, "d_front d_front"], Float[Tensor, "d_front d_rest"]]:
    """Σ xxᵀ and Σ xyᵀ about the means of other tokens."""
    x, y = moments.front.mean - means.front.mean, moments.rest.mean - means.rest.mean
    return moments.front.products + moments.n * torch.outer(x, x), moments.cross + moments.n * torch.outer(x, y)
