"""The parts of a dense training step that all dense rules share: five matrix products, and few other operations."""

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.difference_loss import pull
from toolkit.dictionaries.weights import Batch, Weights


def pre_activations(batch: Batch) -> Float[Tensor, "token latent"]:
    """Return W_enc x + b_enc, in a buffer that the next step takes again."""
    codes = _multiply(batch, batch.x, batch.weights.W_enc.t(), "codes")
    codes += batch.weights.b_enc
    return codes


def decode(
    batch: Batch, codes: Float[Tensor, "token latent"]
) -> tuple[Float[Tensor, "token width"], Float[Tensor, "token width"]]:
    """Return x̂ − x, and the gradient by x̂ of mean_token ‖x̂ − x‖², with what `difference_weight` adds."""
    decoded = (codes.to(batch.dtype) @ batch.weights.W_dec.to(batch.dtype)).to(batch.x.dtype)
    batch.workspace.split.latents.sum_(decoded)
    error = decoded.add_(batch.weights.b_dec - batch.x)
    return error, pull(error, batch.training.difference_weight) * (2 / len(batch.x))


def gradient_of_codes(batch: Batch, error_gradient: Float[Tensor, "token width"]) -> Float[Tensor, "token latent"]:
    """Return the gradient by codes, through the decoder, in a buffer that the next step takes again."""
    return _multiply(batch, error_gradient, batch.weights.W_dec.t(), "code_gradient")


def weight_gradients(
    batch: Batch,
    codes: Float[Tensor, "token latent"],
    code_gradient: Float[Tensor, "token latent"],
    error_gradient: Float[Tensor, "token width"],
) -> Weights:
    """Return gradients by encoder, decoder and their biases."""
    x, dtype = batch.x, batch.dtype
    return Weights(
        W_enc=(code_gradient.t().to(dtype) @ x.to(dtype)).to(x.dtype),
        b_enc=column_sums(code_gradient),
        W_dec=(codes.t().to(dtype) @ error_gradient.to(dtype)).to(x.dtype),
        b_dec=error_gradient.sum(dim=0),
    )


def column_sums(matrix: Float[Tensor, "token latent"]) -> Float[Tensor, " latent"]:
    """Sum over tokens; as a product it takes less than half of the time of `sum`."""
    return matrix.t() @ matrix.new_ones(len(matrix))


def dense_flops(training: TrainingConfig, width: int) -> int:
    """Operations a token of a dense step: five products of all latents."""
    return 5 * 2 * training.n_latents * width


def _multiply(batch: Batch, a: Tensor, b: Tensor, name: str) -> Tensor:
    out = batch.workspace.empty(name, (a.shape[0], b.shape[1]), like=a, dtype=a.dtype)
    if batch.dtype == a.dtype:
        return torch.mm(a, b, out=out)
    return out.copy_(a.to(batch.dtype) @ b.to(batch.dtype))
