"""How learning rate, sparsity weight λ and k change over the steps of a run."""

from toolkit.dictionaries.configs import TrainingConfig


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Learning rate of `step` (from 0): linear warm-up, constant, linear to 0 over the last share of the run."""
    warmup = min(1.0, (step + 1) / max(1, config.lr_warmup_steps))
    decay_steps = config.lr_decay_share * config.steps
    decay = min(1.0, (config.steps - step) / decay_steps) if decay_steps else 1.0
    return config.lr * warmup * max(0.0, decay)


def sparsity_weight(config: TrainingConfig, step: int) -> float:
    """Penalty weight λ of `step` (from 0): linear from 0, then constant."""
    warmup_steps = config.sparsity_warmup_share * config.steps
    return config.sparsity_coefficient * (min(1.0, step / warmup_steps) if warmup_steps else 1.0)


def kept_latents(config: TrainingConfig, step: int) -> int:
    """Latents kept per token at `step` (from 0): linear from `k_initial` to `k`, at most all there are."""
    if step >= config.k_anneal_steps:
        return config.k
    left = 1 - step / config.k_anneal_steps
    return min(config.n_latents, round(config.k + left * (config.k_initial - config.k)))
