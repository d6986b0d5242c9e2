"""Orthogonal Procrustes: the rotation that brings one set of points closest to another."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Procrustes:
    """y ≈ scale (x − x_mean) rotation + y_mean, the closest in squared distance."""

    rotation: Float[Tensor, "d_model d_model"]
    """Orthogonal; reflections count as rotations."""
    scale: float
    x_mean: Float[Tensor, " d_model"]
    y_mean: Float[Tensor, " d_model"]
    agreement: float
    """The share of y's variance that the fit explains. With a scale it lies in [0, 1], and is the same with x and y
    exchanged; without one it may be below 0, where x spreads wider than y."""

    def __call__(self, points: Float[Tensor, "point d_model"]) -> Float[Tensor, "point d_model"]:
        """Return where points of x's space come to lie in y's."""
        return self.scale * (points.to(self.x_mean.device) - self.x_mean) @ self.rotation + self.y_mean


def procrustes(
    x: Float[Tensor, "point d_model"], y: Float[Tensor, "y_point y_width"], *, scaled: bool = True
) -> Procrustes:
    """Fit a rotation, a shift and, if `scaled`, one common scale that bring each point of `x` to that of `y`.

    n points span n − 1 dimensions at most. Where the space has as many or more, a rotation can bring the span of x
    onto the span of y whatever they are, and the agreement compares only the *shapes*, that is the distances between
    points: two points always agree (1), three agree where their triangles are similar. Random points of many
    dimensions lie nearly equally far from each other, so that theirs agree, too: compare with the agreement of
    shuffled points. Directions in which no point differs are rotated arbitrarily.
    Raises `ValueError` for other numbers of points or dimensions in y than in x, for fewer than two points, and for
    points that are all alike.
    """
    if x.shape != y.shape:
        raise ValueError(
            f"points of shape {[*x.shape]} and {[*y.shape]} have no rotation between them: give as many points of as"
            " many dimensions on both sides"
        )
    if len(x) < 2:
        raise ValueError(f"{len(x)} points have no shape to compare: give at least 2")
    dtype = torch.promote_types(x.dtype, torch.float32)
    x, y = x.to(dtype), y.to(x.device, dtype)
    x_mean, y_mean = x.mean(dim=0), y.mean(dim=0)
    x, y = x - x_mean, y - y_mean
    x_spread, y_spread = float(x.square().sum()), float(y.square().sum())
    if not (x_spread > 0 and y_spread > 0):
        raise ValueError(f"{len(x)} points are all alike on one side: give points that differ")
    rotation, overlap = closest_rotation(x.T @ y)
    scale = overlap / x_spread if scaled else 1.0
    left = y_spread - 2 * scale * overlap + scale**2 * x_spread
    return Procrustes(rotation=rotation, scale=scale, x_mean=x_mean, y_mean=y_mean, agreement=1 - left / y_spread)


def closest_rotation(cross: Float[Tensor, "d_model d_model"]) -> tuple[Float[Tensor, "d_model d_model"], float]:
    """Return the orthogonal R that maximises Σ (x R) · y, and that sum, of `cross` = Σ x yᵀ of centred x and y.

    Source: Schönemann 1966.
    """
    left, values, right = torch.linalg.svd(cross)
    return left @ right, float(values.sum())
