"""The products that a training step makes of the codes that fire, as functions that differ by implementation.

A pattern is latent by token: row-major, so that the tokens of one latent stand together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.sparse_codes import SparsePattern, above


class WeightGradients(NamedTuple):
    """Gradients by the weights whose rows are latents."""

    W_enc: Float[Tensor, "latent width"]
    b_enc: Float[Tensor, " latent"]
    W_dec: Float[Tensor, "latent width"]
    row_squares: Float[Tensor, " latent"] | None = None
    """Σ of squares of each latent's two rows, in W_enc and W_dec, where the pass that wrote them took it; else None."""

    def with_squares(self) -> "WeightGradients":
        """Return them with `row_squares`, for which both matrices are read if the pass did not take them."""
        return self if self.row_squares is not None else self._replace(row_squares=row_squares(self.W_enc, self.W_dec))


def row_squares(W_enc: Float[Tensor, "latent width"], W_dec: Float[Tensor, "latent width"]) -> Float[Tensor, " latent"]:
    """Return what `WeightGradients.row_squares` is, of rows of both gradients: who changes some takes theirs anew."""
    encoder, decoder = (torch.linalg.vector_norm(rows, dim=1) for rows in (W_enc, W_dec))
    return encoder.square() + decoder.square()


@dataclass(frozen=True, kw_only=True)
class SparseProducts:
    """One implementation. Tensors are in single precision if nothing else is said, and on one device; `plain` is the
    reference."""

    name: str

    above: Callable[[Tensor, Tensor], tuple[SparsePattern, Tensor]] = above
    """above(scores [row, column], limits [row]) returns the pattern of the scores that exceed their row's limit, and
    these scores; they may be in bf16."""
    codes: Callable[[SparsePattern, Tensor, Tensor, Tensor], Tensor]
    """codes(pattern, W_enc [latent, width], b_enc [latent], x [token, width]) returns W_enc[latent] · x[token] +
    b_enc[latent] for each nonzero of the pattern."""
    decode: Callable[[SparsePattern, Tensor, Tensor, Tensor], Tensor]
    """decode(pattern, codes [nonzero], W_dec [latent, width], start [token, width]) returns start[token] + Σ codes
    W_dec[latent]; `start` may be overwritten."""
    weight_gradients: Callable[[SparsePattern, Tensor, Tensor, Tensor, Tensor, tuple[Tensor, Tensor]], WeightGradients]
    """weight_gradients(pattern, codes [nonzero], x [token, width], error_gradient [token, width], W_dec [latent,
    width], out) returns the gradients of a loss whose gradient by x̂ is `error_gradient`. `out` are two tensors [latent,
    width] of arbitrary content, which become those of W_enc and W_dec. Who gives `row_squares` spares the trainer from
    reading both again."""
