"""The types that sparsity rules and the trainer share: training weights, and the input and result of one pass."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.dictionaries.collectives import WHOLE, Split
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.sparse_products.products import SparseProducts

EPSILON = 1e-12  # below it a decoder row has no direction
NONE: Mapping[str, Tensor] = MappingProxyType({})

Memory = Mapping[str, Tensor]
"""What a sparsity rule keeps between steps: scalars by name."""


class Weights(NamedTuple):
    """Weights of a crosscoder on scaled activations, or their gradients; width is stream × d_model."""

    W_enc: Float[Tensor, "latent width"]
    b_enc: Float[Tensor, " latent"]
    W_dec: Float[Tensor, "latent width"]
    b_dec: Float[Tensor, " width"]
    extra: Mapping[str, Float[Tensor, " latent"]] = NONE
    """What the sparsity rule has beside them."""

    def named(self) -> dict[str, Tensor]:
        """Return all tensors by name."""
        return {"W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec, **self.extra}

    def decoder_norms(self, n_streams: int) -> Float[Tensor, "latent stream"]:
        """Return the Euclidean norm of each decoder row per stream."""
        return self.W_dec.view(len(self.W_dec), n_streams, -1).norm(dim=2)


class Workspace:
    """Large buffers that are kept between steps, as fresh memory costs a CPU one page fault per 4 kB.

    split: the part of the batch or of the latents that other processes compute.
    """

    def __init__(self, split: Split = WHOLE) -> None:
        self.split = split
        self._buffers: dict[str, Tensor] = {}

    def empty(self, name: str, shape: Sequence[int], like: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the buffer `name`, made anew when shape, type or device changed; its content is arbitrary."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != tuple(shape) or buffer.dtype != dtype or buffer.device != like.device:
            buffer = self._buffers[name] = torch.empty(tuple(shape), dtype=dtype, device=like.device)
        return buffer


class Batch(NamedTuple):
    """What one pass works on: of this process's tokens and latents, where they are shared out."""

    x: Float[Tensor, "token width"]
    """Scaled activations."""
    weights: Weights
    stream_norms: Float[Tensor, "latent stream"]
    """Euclidean norm of each decoder row per stream."""
    strength: float
    """The λ or k of this step."""
    training: TrainingConfig
    dtype: torch.dtype
    """Type of the large matrix products."""
    workspace: Workspace
    products: SparseProducts
    memory: Memory = NONE
    scaled_encoder: Float[Tensor, "latent width"] | None = None
    """W_enc times `norms`, in `dtype`, where the step that wrote W_enc made it. It and `stream_norms` are then buffers
    of `RowUpdate`, which the next step of the optimiser overwrites."""

    @property
    def norms(self) -> Float[Tensor, " latent"]:
        """Σ_s‖W_dec,k^s‖, which makes a score of an activation."""
        return self.stream_norms.sum(dim=1)


class Pass(NamedTuple):
    """What one forward and backward pass found: of this process's tokens and latents, where they are shared out."""

    gradients: Weights
    error: Float[Tensor, "token width"]
    """x̂ − x, on scaled activations."""
    fired: Int[Tensor, " latent"]
    """Tokens on which each latent fired."""
    sparsity_loss: Float[Tensor, ""]
    """Penalty per token before its weight λ: decoder-norm-weighted L1, or L0; 0 where there is none."""
    cut: Float[Tensor, ""]
    """Smallest score that was kept of the whole batch, where the rule has one cut for it; else 0."""
    row_squares: Float[Tensor, " latent"] | None = None
    """Σ of squares of each latent's two rows in `gradients`, where these need not be read for it; else None."""


def fold_weights(
    weights: Weights,
    code_norms: Float[Tensor, " latent"],
    scale: Float[Tensor, " stream"],
    mean: Float[Tensor, "stream d_model"] | None = None,
) -> dict[str, Tensor]:
    """Return the tensors on raw activations that equal weights trained on (x − mean) · scale.

    With s the scale of a stream, μ its mean and n_k the factor that makes a code of an activation:
    W_enc ↦ n_k s W_enc, b_enc ↦ n_k (b_enc − W_enc s μ), W_dec ↦ W_dec / (n_k s), b_dec ↦ b_dec / s + μ.
    """
    norms = code_norms.clamp(min=EPSILON)
    by_stream = (len(scale), -1)
    encoder = weights.W_enc.unflatten(1, by_stream) * (norms[:, None, None] * scale[:, None])
    b_enc, b_dec = weights.b_enc * norms, weights.b_dec.unflatten(0, by_stream) / scale[:, None]
    if mean is not None:
        b_enc, b_dec = b_enc - encoder.flatten(1) @ mean.flatten(), b_dec + mean
    decoder = weights.W_dec.unflatten(1, by_stream) / (norms[:, None, None] * scale[:, None])
    return {"W_enc": encoder, "b_enc": b_enc, "W_dec": decoder, "b_dec": b_dec}
