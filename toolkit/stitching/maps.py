"""Affine maps from one model's residual stream to another's."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


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
        """Return the mapped stream; `first` says where the first token of a text stands."""
        return stream @ self.weight + torch.where(first[..., None], self.first_bias, self.bias)
