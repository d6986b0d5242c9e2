"""l1: a penalty on codes, weighted by the norms of their decoder rows; every positive code fires."""

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.dense_pass import DenseProducts, column_sums, dense_flops
from toolkit.dictionaries.revival import preactivation_loss
from toolkit.dictionaries.rules.rule import Exported, Rule
from toolkit.dictionaries.schedules import PENALTY
from toolkit.dictionaries.weights import EPSILON, Batch, Pass, Weights


def l1_pass(batch: Batch) -> Pass:
    """Return gradients of mean_token [‖x̂ − x‖² + λ Σ_k f_k Σ_s‖W_dec,k^s‖], f = relu(W_enc x + b_enc).

    Source: Baek & Tegmark 2025, section 2.
    """
    x, norms, weight = batch.x, batch.norms, batch.strength / len(batch.x)
    products = DenseProducts(batch)
    codes = products.pre_activations().relu_()
    error, error_gradient = products.decode(codes)
    code_gradient = products.gradient_of_codes(error_gradient, penalty=norms * weight)
    torch.ops.aten.threshold_backward(code_gradient, codes, 0, grad_input=code_gradient)
    gradients = products.weight_gradients(codes, code_gradient, error_gradient)
    mass = column_sums(codes)
    rows = batch.weights.W_dec.view(*batch.stream_norms.shape, -1)
    pull = weight * mass[:, None] / batch.stream_norms.clamp(min=EPSILON)
    gradients.W_dec.view_as(rows).addcmul_(rows, pull[:, :, None])
    fired = column_sums(codes.sign_())  # codes are not needed any more
    return Pass(gradients, error, fired.long(), mass @ norms / len(x), x.new_zeros(()))


def revival_loss(
    x: Float[Tensor, "token width"],
    _error: Float[Tensor, "token width"],
    rows: Weights,
    norms: Float[Tensor, " dead"],
) -> Float[Tensor, ""]:
    """Push scores of dead latents up to zero."""
    return preactivation_loss(x, rows, norms, norms.new_zeros(()))


def export(_threshold: Tensor) -> Exported:
    """Every positive code is kept there too."""
    return Exported(torch.ones(()), threshold=None)


RULE = Rule(
    pressure=PENALTY,
    run_pass=l1_pass,
    revival_loss=revival_loss,
    step_flops=dense_flops,
    dense_matrices=2,
    export=export,
)
