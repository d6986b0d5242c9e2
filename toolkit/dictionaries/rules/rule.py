"""What every sparsity rule consists of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import NamedTuple

from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.rules import __name__ as rules
from toolkit.dictionaries.rules import check_rule
from toolkit.dictionaries.schedules import Pressure
from toolkit.dictionaries.weights import Batch, Memory, Pass, Weights


class Exported(NamedTuple):
    """How dictionary_learning, which has one threshold for all latents, says a rule."""

    unit: Tensor
    """What codes are divided by, one number or one a latent."""
    threshold: Tensor | None
    """Threshold on the codes that result; None where every positive one is kept."""


def _keep(batch: Batch, cut: float, step: int) -> Memory:
    return batch.memory


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A sparsity rule as pure functions: how it trains, how a trained crosscoder fires, and what it costs."""

    pressure: Pressure
    """Its k or λ over the steps of a run."""
    run_pass: Callable[[Batch], Pass]
    """Forward and backward pass over one batch."""
    revival_loss: Callable[[Tensor, Tensor, Weights, Tensor], Tensor]
    """Loss that brings dead latents back, of scaled activations, x̂ − x, the dead latents' weights and decoder norms."""
    extra_weights: Callable[[TrainingConfig], Mapping[str, float]] = lambda training: {}
    """Weights beside encoder and decoder, one number a latent each: their names and starting values."""
    memory: Memory = field(default_factory=dict)
    """What it keeps between steps, as it begins: scalars, which a checkpoint holds."""
    remember: Callable[[Batch, float, int], Memory] = _keep
    """The memory after a step (from 0), of its batch, whose weights are updated by now, and its `Pass.cut`.
    A batch's norms are those of the former weights, or where it has a `scaled_encoder`, as this is, the new ones'."""

    threshold_shape: Callable[[int], tuple[int, ...]] | None = None
    """Shape of a trained crosscoder's threshold, of the number of latents; None where there is none."""
    threshold: Callable[[Weights, Memory], Tensor | None] = lambda weights, memory: None
    """The threshold of the crosscoder as it stands."""
    fire: Callable[[Tensor, Tensor, int], Tensor] = lambda codes, threshold, k: codes
    """A trained crosscoder's codes [token, latent], of all positive ones, its threshold (0 without one) and its k."""

    step_flops: Callable[[TrainingConfig, int], int]
    """Operations a token of one training step, of the settings and the width, streams × d_model."""
    dense_matrices: int = 1
    """Matrices of a batch's tokens by all latents that a step holds at once."""
    export: Callable[[Tensor], Exported] | None = None
    """How dictionary_learning says it, of the threshold; None where it has no such rule."""


def rule_of(sparsity: str) -> Rule:
    """Return a rule by its name; raises `ValueError` for one that is not in the table."""
    check_rule(sparsity)
    return import_module(f"{rules}.{sparsity}").RULE
