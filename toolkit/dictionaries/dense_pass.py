"""The parts of a dense training step that all dense rules share: five matrix products, and few other operations."""

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.difference_loss import pull
from toolkit.dictionaries.weights import Batch, Weights

MIXED_PRODUCTS = {"cuda"}
"""Kinds of devices that write the product of two bf16 matrices in fp32; on others the result is copied."""


class DenseProducts:
    """The five products of one batch.

    Activations and weights are cast to the products' type once, and codes and their gradients stay in it: those are the
    largest matrices, and in bf16 a GPU takes half of the time to pass over them. Gradients of weights are in fp32.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        weights = {"x": batch.x, "W_enc": batch.weights.W_enc, "W_dec": batch.weights.W_dec}
        self._x, self._W_enc, self._W_dec = (self._operand(name, tensor) for name, tensor in weights.items())

    def pre_activations(self) -> Float[Tensor, "token latent"]:
        """Return W_enc x + b_enc, in a buffer that the next step takes again."""
        bias = self._batch.weights.b_enc.to(self._batch.dtype)
        return torch.addmm(bias, self._x, self._W_enc.t(), out=self._by_latent("codes"))

    def decode(
        self, codes: Float[Tensor, "token latent"]
    ) -> tuple[Float[Tensor, "token width"], Float[Tensor, "token width"]]:
        """Return x̂ − x, and the gradient by x̂ of mean_token ‖x̂ − x‖², with what `difference_weight` adds."""
        batch = self._batch
        error = self._product(codes, self._W_dec, "error")
        batch.workspace.split.latents.sum_(error)
        error += batch.weights.b_dec - batch.x
        gradient = pull(error, batch.training.difference_weight) * (2 / len(error))
        return error, gradient.to(batch.dtype)

    def gradient_of_codes(
        self, error_gradient: Float[Tensor, "token width"], penalty: Float[Tensor, " latent"] | None = None
    ) -> Float[Tensor, "token latent"]:
        """Return the gradient by codes, through the decoder, in a buffer that the next step takes again; `penalty` is
        that of a loss beside it, the same on all tokens."""
        out = self._by_latent("code_gradient")
        if penalty is None:
            return torch.mm(error_gradient, self._W_dec.t(), out=out)
        return torch.addmm(penalty.to(out.dtype), error_gradient, self._W_dec.t(), out=out)

    def weight_gradients(
        self,
        codes: Float[Tensor, "token latent"],
        code_gradient: Float[Tensor, "token latent"],
        error_gradient: Float[Tensor, "token width"],
    ) -> Weights:
        """Return gradients by encoder, decoder and their biases, the large ones in buffers."""
        return Weights(
            W_enc=self._product(code_gradient.t(), self._x, "W_enc_gradient"),
            b_enc=column_sums(code_gradient),
            W_dec=self._product(codes.t(), error_gradient, "W_dec_gradient"),
            b_dec=error_gradient.sum(dim=0, dtype=self._batch.x.dtype),
        )

    def _operand(self, name: str, tensor: Tensor) -> Tensor:
        dtype = self._batch.dtype
        if tensor.dtype == dtype:
            return tensor
        return self._batch.workspace.empty(f"{name} cast", tensor.shape, like=tensor, dtype=dtype).copy_(tensor)

    def _by_latent(self, name: str) -> Tensor:
        shape = len(self._x), len(self._W_enc)
        return self._batch.workspace.empty(name, shape, like=self._x, dtype=self._x.dtype)

    def _product(self, a: Tensor, b: Tensor, name: str) -> Tensor:
        """Return a b in fp32, whatever their type."""
        x = self._batch.x
        out = self._batch.workspace.empty(name, (a.shape[0], b.shape[1]), like=x, dtype=x.dtype)
        if a.dtype == out.dtype:
            return torch.mm(a, b, out=out)
        if out.device.type in MIXED_PRODUCTS:
            return torch.mm(a, b, out_dtype=out.dtype, out=out)
        return out.copy_(a @ b)


def column_sums(matrix: Float[Tensor, "token latent"]) -> Float[Tensor, " latent"]:
    """Sum over tokens, in fp32; as a product that takes less than half of the time, but it would round bf16."""
    if matrix.dtype == torch.bfloat16:
        return matrix.sum(dim=0, dtype=torch.float32)
    return matrix.t() @ matrix.new_ones(len(matrix))


def dense_flops(training: TrainingConfig, width: int) -> int:
    """Operations a token of a dense step: five products of all latents."""
    return 5 * 2 * training.n_latents * width
