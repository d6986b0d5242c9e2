"""l1: a penalty on codes, weighted by the norms of their decoder rows; every positive code fires."""

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.dense_pass import (
    column_sums,
    decode,
    dense_flops,
    gradient_of_codes,
    pre_activations,
    weight_gradients,
)
from toolkit.dictionaries.revival import preactivation_loss
from toolkit.dictionaries.rules.rule import Exported, Rule
from toolkit.dictionaries.schedules import PENALTY
from toolkit.dictionaries.weights import EPSILON, Batch, Pass, Weights


def l1_pass(batch: Batch) -> Pass:
    """Return gradients of mean_token [‖x̂ − x‖² + λ Σ_k f_k Σ_s‖W_dec,k^s‖], f = relu(W_enc x + b_enc).

    Source: Baek & Tegmark 2025, section 2.
    """
    x, norms, weight = batch.x, batch.norms, batch.strength / len(batch.x)
    codes = pre_activations(batch).relu_()
    error, error_gradient = decode(batch, codes)
    code_gradient = gradient_of_codes(batch, error_gradient)
    code_gradient += norms * weight
    torch.ops.aten.threshold_backward(code_gradient, codes, 0, grad_input=code_gradient)
    gradients = weight_gradients(batch, codes, code_gradient, error_gradient)
    mass = column_sums(codes)
    stream_norms = batch.stream_norms
    directions = batch.weights.W_dec.view(*stream_norms.shape, -1) / stream_norms.clamp(min=EPSILON)[:, :, None]
    gradients.W_dec.addcmul_(directions.flatten(1), mass[:, None], value=weight)
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
