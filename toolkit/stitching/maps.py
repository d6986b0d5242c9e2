"""Affine maps from one model's residual stream to another's."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.stitching.moments import Moments, StreamMoments


@dataclass(frozen=True, kw_only=True, eq=False)
class AffineMap:
    """y = x W + b, with another bias at the first token of a text.

    The first token is an attention sink of huge norm: its stream is nearly the same in every text, and a map that is
    fitted to the other tokens says nothing of it.
    """

    weight: Float[Tensor, "d_front d_rest"]
    bias: Float[Tensor, " d_rest"]
    first_bias: Float[Tensor, " d_rest"]
    """The bias at the first token of a text."""

    def __call__(
        self, stream: Float[Tensor, "row position d_front"], first: Bool[Tensor, "row position"]
    ) -> Float[Tensor, "row position d_rest"]:
        """Return the mapped stream, on the map's device; `first` says where the first token of a text stands."""
        stream, first = (each.to(self.weight.device) for each in (stream, first))
        return stream @ self.weight + torch.where(first[..., None], self.first_bias, self.bias)

    def truncated(self, rank: int, inputs: StreamMoments) -> "AffineMap":
        """Return the map of this rank that comes closest to this one on the tokens of `inputs`, the front's moments.

        It keeps the directions of the output along which the mapped tokens vary most, which is the reduced-rank
        regression of the map's own predictions. The largest singular values of W would be another choice, and a poor
        one: they say how much W stretches a direction, not whether any token goes there. Means, and means of first
        tokens, still go where this map brings them. Raises `ValueError` for a rank that no map of this shape has.
        """
        most = min(self.weight.shape)
        if not 0 <= rank <= most:
            raise ValueError(f"rank {rank}: a map of width {len(self.weight)} to {len(self.bias)} has 0 to {most}")
        whole = self.weight.to(inputs.products)
        varying = torch.linalg.eigh(whole.T @ inputs.products @ whole).eigenvectors.flip(1)  # most first
        kept = varying[:, :rank]
        weight = whole @ kept @ kept.T
        lost = whole - weight
        return AffineMap(
            weight=weight.to(self.weight),
            bias=(self.bias.to(lost) + inputs.mean @ lost).to(self.bias),
            first_bias=(self.first_bias.to(lost) + inputs.first_mean @ lost).to(self.first_bias),
        )

    def from_identity(self, inputs: StreamMoments) -> float:
        """Return how far this map is from leaving the tokens of `inputs` as they are, a shift of their mean apart.

        It is √(Σ‖(x − mean)(W − I)‖² / Σ‖x − mean‖²): 0 for the identity, 1 for a map that ignores its input, √2 for a
        random rotation. Raises `ValueError` for a map to another width.
        """
        d_front, d_rest = self.weight.shape
        if d_front != d_rest:
            raise ValueError(
                f"a map of width {d_front} to {d_rest} has no distance from the identity, which keeps the width"
            )
        change = self.weight.to(inputs.products) - torch.eye(d_front).to(inputs.products)
        return float(((change * (inputs.products @ change)).sum() / inputs.products.trace()).sqrt())


def through_means(weight: Float[Tensor, "d_front d_rest"], moments: Moments) -> AffineMap:
    """Return the map with this weight that brings the mean to the mean, of first tokens and of the others; float32."""
    x, y = moments.front, moments.rest
    weight = weight.to(x.mean.device)
    return AffineMap(
        weight=weight.float(),
        bias=(y.mean - x.mean @ weight).float(),
        first_bias=(y.first_mean - x.first_mean @ weight).float(),
    )


def identity_map(d_model: int) -> AffineMap:
    """Return the map that leaves every token as it is."""
    return AffineMap(weight=torch.eye(d_model), bias=torch.zeros(d_model), first_bias=torch.zeros(d_model))


def mean_shift(moments: Moments) -> AffineMap:
    """Return y = x + (mean of y − mean of x), of first tokens by their own means; the streams have one width."""
    return through_means(torch.eye(len(moments.cross)).to(moments.cross), moments)
