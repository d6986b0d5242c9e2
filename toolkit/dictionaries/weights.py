"""Training weights and what one pass over a batch gives back: the vocabulary of kernels and trainer."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.dictionaries.collectives import WHOLE, Split

EPSILON = 1e-12  # below it a decoder row has no direction


class Weights(NamedTuple):
    """Weights of a crosscoder on scaled activations, or their gradients; width is stream × d_model."""

    W_enc: Float[Tensor, "latent width"]
    b_enc: Float[Tensor, " latent"]
    W_dec: Float[Tensor, "latent width"]
    b_dec: Float[Tensor, " width"]
    log_threshold: Float[Tensor, " latent"] | None = None

    def named(self) -> dict[str, Tensor]:
        """Return the tensors that are there, by name."""
        return {name: tensor for name, tensor in self._asdict().items() if tensor is not None}

    def decoder_norms(self, n_streams: int) -> Float[Tensor, "latent stream"]:
        """Return the Euclidean norm of each decoder row per stream."""
        return self.W_dec.view(len(self.W_dec), n_streams, -1).norm(dim=2)


class Pass(NamedTuple):
    """What one forward and backward pass found: of this process's tokens and latents, where they are shared out."""

    gradients: Weights
    error: Float[Tensor, "token width"]
    """x̂ − x, on scaled activations."""
    fired: Int[Tensor, " latent"]
    """Tokens on which each latent fired."""
    sparsity_loss: Float[Tensor, ""]
    """Penalty per token before its weight λ: decoder-norm-weighted L1, or L0; 0 for topk and batchtopk."""
    cut: Float[Tensor, ""]
    """Smallest score that was kept by batchtopk; 0 for other rules."""


class Workspace:
    """Large buffers kept between steps, for fresh memory costs a CPU one page fault per 4 kB; and who does the rest.

    split: what other processes take of the batch or of the latents.
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
