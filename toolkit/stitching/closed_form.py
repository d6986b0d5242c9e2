"""Maps between two streams that follow from their moments in closed form: orthogonal, and ridge."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.geometry.procrustes import closest_rotation
from toolkit.leaving_out import TooFewError
from toolkit.stitching.maps import AffineMap, output_directions, through_means
from toolkit.stitching.moments import Moments, StreamMoments

PENALTIES = torch.logspace(-8, 2, 21, dtype=torch.float64)
"""Penalties of a ridge that are tried, as multiples of the mean eigenvalue of the front's second moments."""
TOKENS_A_WEIGHT = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeMap(AffineMap):
    """A ridge, with the penalty that other documents chose."""

    penalty: float
    """As a multiple of the mean eigenvalue of the front's second moments."""
    penalty_at_end: bool
    """Whether it is the smallest or the largest that was tried, so that a better one may lie beyond."""


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
        penalty_at_end=best in (0, len(PENALTIES) - 1),
    )


def variance_explained(map_: AffineMap, moments: Moments) -> float:
    """Return 1 − Σ‖y − (xW + b)‖² / Σ‖y − mean of y‖² over the tokens of the moments, first tokens apart.

    Below 0, the mean of y is the better guess.
    """
    return float(variance_explained_by_rank(map_, moments.front, moments)[-1])


def variance_explained_by_rank(
    map_: AffineMap, inputs: StreamMoments, moments: Moments
) -> Float[Tensor, " rank_from_0"]:
    """Return the same of `map_.truncated(rank, inputs)` for each rank from 0 to that of the whole map."""
    directions = output_directions(map_, inputs)[:, : min(map_.weight.shape)]
    mapped = map_.weight.double() @ directions  # [d_front, rank]
    # What is left of the mean of y beside the map's centre, and how far from its centre the tokens' mean is mapped.
    left = moments.rest.mean - inputs.mean @ map_.weight.double() - map_.bias
    off = (moments.front.mean - inputs.mean) @ mapped
    along_y = (mapped * (moments.cross @ directions)).sum(dim=0) + moments.n * off * (left @ directions)
    along_itself = (mapped * (moments.front.products @ mapped)).sum(dim=0) + moments.n * off.square()
    gains = torch.cat([-moments.n * left.square().sum()[None], 2 * along_y - along_itself])
    return gains.cumsum(dim=0) / moments.rest.products.trace()


def rank_needed(map_: AffineMap, inputs: StreamMoments, moments: Moments, share: float = 0.99) -> int:
    """Return the least rank at which the truncated map explains `share` of the variance that the whole map explains."""
    explained = variance_explained_by_rank(map_, inputs, moments)
    return int((explained >= share * explained[-1]).nonzero()[0])


def check_tokens(fit: Moments, chosen_by: Moments) -> None:
    """Raise `TooFewError` where a ridge has too few tokens to be fitted on, or none to choose its penalty."""
    width = len(fit.front.mean)
    least = TOKENS_A_WEIGHT * (width + 1)
    if fit.n < least:
        raise TooFewError(
            f"{fit.n:,} tokens fit a ridge between streams, and a stream of width {width:,} needs {least:,}"
            f" ({TOKENS_A_WEIGHT} for each weight of an output): read more text"
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
