"""How learning rate, sparsity weight λ, k and running means change over the steps of a run.

A schedule never takes more than a fixed share of the run, so that it ends within a run of any length.
"""

from collections.abc import Callable
from dataclasses import dataclass

from toolkit.dictionaries.configs import TrainingConfig

WARMUP_SHARE = 0.2
ANNEALING_SHARE = 0.4
DEAD_SHARE = 0.2


def warmup_steps(config: TrainingConfig) -> int:
    """Steps over which the learning rate rises: as asked for, at most a fifth of the run."""
    return min(config.lr_warmup_steps, int(WARMUP_SHARE * config.steps))


def annealing_steps(config: TrainingConfig) -> int:
    """Steps over which k falls: as asked for, at most two fifths of the run."""
    return min(config.k_anneal_steps, int(ANNEALING_SHARE * config.steps))


def dead_after(config: TrainingConfig) -> int:
    """Tokens without firing after which a latent counts as dead: as asked for, at most a fifth of the run's."""
    return min(config.dead_after_tokens, int(DEAD_SHARE * config.steps * config.batch_tokens))


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Learning rate of `step` (from 0): linear warm-up, constant, linear to 0 over the last share of the run."""
    warmup = min(1.0, (step + 1) / max(1, warmup_steps(config)))
    decay_steps = config.lr_decay_share * config.steps
    decay = min(1.0, (config.steps - step) / decay_steps) if decay_steps else 1.0
    return config.lr * warmup * max(0.0, decay)


def sparsity_weight(config: TrainingConfig, step: int) -> float:
    """Penalty weight λ of `step` (from 0): linear from 0, then constant, whole at the last step at the latest."""
    rising = min(config.sparsity_warmup_share * config.steps, config.steps - 1)
    return config.sparsity_coefficient * (min(1.0, step / rising) if rising else 1.0)


def kept_latents(config: TrainingConfig, step: int) -> int:
    """Latents kept per token at `step` (from 0): linear from `k_initial`, or all there are, to `k`; never fewer."""
    steps = annealing_steps(config)
    if step >= steps:
        return config.k
    start = max(config.k, min(config.k_initial, config.n_latents))
    return round(config.k + (1 - step / steps) * (start - config.k))


@dataclass(frozen=True, kw_only=True)
class Pressure:
    """What makes codes sparse: its course over the steps of a run, and how that is said."""

    at: Callable[[TrainingConfig, int], float]
    """Its size at a step (from 0)."""
    goal: Callable[[TrainingConfig], str]
    """What it was asked to be, in words."""
    course: Callable[[TrainingConfig], str]
    """How it gets there, in words."""


def _kept_in_words(config: TrainingConfig) -> str:
    start, steps = kept_latents(config, 0), annealing_steps(config)
    reached = _after(steps, config.k_anneal_steps) if start > config.k else ""
    return f"k {start} → {config.k}{reached}" if reached and steps else f"k {config.k}{reached}"


def _penalty_in_words(config: TrainingConfig) -> str:
    rising = int(config.sparsity_warmup_share * config.steps)
    return f"λ {config.sparsity_coefficient:g}{_after(rising, rising)}"


KEPT = Pressure(at=kept_latents, goal=lambda config: f"k {config.k}", course=_kept_in_words)
PENALTY = Pressure(
    at=sparsity_weight, goal=lambda config: f"λ {config.sparsity_coefficient:g}", course=_penalty_in_words
)


def in_words(config: TrainingConfig, pressure: Pressure) -> str:
    """The schedules in one line; where one is shorter than asked for, both lengths."""
    falling = config.steps - int(config.lr_decay_share * config.steps)
    rate = f"learning rate {config.lr:g}{_after(warmup_steps(config), config.lr_warmup_steps)}"
    if falling < config.steps:
        rate += f", falling from step {falling:,}"
    parts = [pressure.course(config), rate]
    if config.aux_coefficient:
        tokens = dead_after(config)
        parts.append(f"dead after {tokens:,} silent tokens{_instead(tokens, config.dead_after_tokens)}")
    return "; ".join(parts)


def _after(steps: int, asked: int) -> str:
    return f" after {steps:,} steps{_instead(steps, asked)}" if asked else ""


def _instead(taken: int, asked: int) -> str:
    return f" (not {asked:,}: the run is too short)" if taken < asked else ""
