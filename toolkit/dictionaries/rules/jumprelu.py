"""jumprelu: a code fires above a learned threshold of its latent; the penalty is on how many fire."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.dense_pass import decode, dense_flops, gradient_of_codes, pre_activations, weight_gradients
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
    x, norms, bandwidth = batch.x, batch.norms, batch.training.jumprelu_bandwidth
    threshold = _thresholds(batch.weights)
    codes = pre_activations(batch)
    distance = codes * norms - threshold
    passes = distance > 0
    codes *= passes
    error, error_gradient = decode(batch, codes)
    code_gradient = gradient_of_codes(batch, error_gradient)
    # The decoder sees score / norm, hence θ / norm just above the threshold and 0 just below it.
    window = (distance.abs_() < bandwidth / 2).to(x.dtype)
    gain = code_gradient * (threshold / norms.clamp(min=EPSILON)) + batch.strength / len(x)
    threshold_gradient = -(gain.mul_(window).sum(dim=0)) / bandwidth
    gradients = weight_gradients(batch, codes, code_gradient.mul_(passes), error_gradient)
    fired = passes.sum(dim=0)
    extra = {LOG_THRESHOLD: threshold_gradient * threshold}
    return Pass(gradients._replace(extra=extra), error, fired, fired.sum() / len(x), x.new_zeros(()))


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
