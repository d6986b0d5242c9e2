"""jumprelu: a code fires above a learned threshold of its latent; the penalty is on how many fire."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.dense_pass import DenseProducts, column_sums, dense_flops
from toolkit.dictionaries.revival import preactivation_loss
from toolkit.dictionaries.rules.rule import Exported, Rule
from toolkit.dictionaries.schedules import PENALTY
from toolkit.dictionaries.weights import EPSILON, Batch, Memory, Pass, Weights

LOG_THRESHOLD = "log_threshold"


def jumprelu_pass(batch: Batch) -> Pass:
    """Return gradients of mean_token [‖x̂ − x‖² + λ L0], f_k passing where its score exceeds a threshold.

    Scores and thresholds θ are decoder-norm-weighted. The step is flat, so θ's gradient is the
    straight-through one with a rectangular window: Rajamanoharan et al. 2024, equations 11 and 12.
    """
    bandwidth, n_tokens = batch.training.jumprelu_bandwidth, len(batch.x)
    threshold, norms = _thresholds(batch.weights), batch.norms.clamp(min=EPSILON)
    floor, reach = threshold / norms, bandwidth / 2 / norms  # of codes, where θ and the window are of scores
    products = DenseProducts(batch)
    codes = products.pre_activations()
    low, middle, high = floor - reach, floor, floor + reach  # in fp32: rounded to bf16, edges of a high θ meet
    near = (codes > low).logical_and_(codes < high).to(codes.dtype)
    codes *= codes > middle
    error, error_gradient = products.decode(codes)
    code_gradient = products.gradient_of_codes(error_gradient)
    # The decoder sees a code just above the threshold and 0 just below it.
    rise = column_sums(code_gradient * near) * floor + column_sums(near) * (batch.strength / n_tokens)
    torch.ops.aten.threshold_backward(code_gradient, codes, 0, grad_input=code_gradient)
    gradients = products.weight_gradients(codes, code_gradient, error_gradient)
    extra = {LOG_THRESHOLD: -rise / bandwidth * threshold}
    fired = column_sums(codes.sign_())  # codes are not needed any more
    return Pass(gradients._replace(extra=extra), error, fired.long(), fired.sum() / n_tokens, fired.new_zeros(()))


def _thresholds(weights: Weights) -> Float[Tensor, " latent"]:
    return weights.extra[LOG_THRESHOLD].exp()


def extra_weights(training: TrainingConfig) -> dict[str, float]:
    """Thresholds are learned as their logarithms."""
    return {LOG_THRESHOLD: math.log(training.jumprelu_threshold)}


def revival_loss(
    x: Float[Tensor, "token width"],
    _error: Float[Tensor, "token width"],
    rows: Weights,
    norms: Float[Tensor, " dead"],
) -> Float[Tensor, ""]:
    """Push scores of dead latents up to their thresholds."""
    return preactivation_loss(x, rows, norms, _thresholds(rows).detach())


def trained_threshold(weights: Weights, _memory: Memory) -> Float[Tensor, " latent"]:
    """Each latent's own."""
    return _thresholds(weights)


def fire(
    codes: Float[Tensor, "token latent"], threshold: Float[Tensor, " latent"], _k: int
) -> Float[Tensor, "token latent"]:
    """Keep codes above their thresholds."""
    return codes * (codes > threshold)


def export(threshold: Float[Tensor, " latent"]) -> Exported:
    """Codes in units of their thresholds, so that one threshold serves all."""
    return Exported(threshold.clamp(min=EPSILON), threshold=torch.ones(()))


RULE = Rule(
    pressure=PENALTY,
    run_pass=jumprelu_pass,
    revival_loss=revival_loss,
    extra_weights=extra_weights,
    threshold_shape=lambda n_latents: (n_latents,),
    threshold=trained_threshold,
    fire=fire,
    step_flops=dense_flops,
    dense_matrices=4,
    export=export,
)
