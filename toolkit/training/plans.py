"""The crosscoders that one stream trains: those of several plans, each from the initial weights of several seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.training import StepMetrics
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.settings.run_files import SEED_FOLDER


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one crosscoder is trained, and the seed of its initial weights."""

    training: TrainingConfig
    seed: int
    said: Mapping[str, Any]
    """What tells its records in `metrics.jsonl` from those of the others; empty where it is alone."""


def planned(config: RunConfig, trainings: Mapping[str, TrainingConfig]) -> dict[str, Plan]:
    """Return the plans of all crosscoders by key: `trainings` by name, each with all seeds of the run.

    Raises `ValueError` where tokens or batches are not those of the run.
    """
    _check_alike(trainings, config.training)
    several, seeded = len(trainings) > 1, config.seeds > 1
    return {
        key_of(name, seed, config): Plan(
            training=training,
            seed=seed,
            said=({"plan": name} if several else {}) | ({"seed": seed} if seeded else {}),
        )
        for name, training in trainings.items()
        for seed in config.trained_seeds
    }


def key_of(name: str, seed: int, config: RunConfig) -> str:
    """Return what a crosscoder is called in checkpoints: that of the run's own seed by the plan's name alone."""
    return name if seed == config.seed else f"{name}/{SEED_FOLDER}{seed}"


def states_by_key(tensors: Mapping[str, Tensor], device: torch.device | None = None) -> dict[str, dict[str, Tensor]]:
    """Return each crosscoder's state, from tensors whose names begin with a key."""
    states: dict[str, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        key, _, name = path.rpartition("/")
        states.setdefault(key, {})[name] = tensor if tensor.ndim == 0 else tensor.to(device)
    return states


def shown_figures(steps: Sequence[StepMetrics]) -> dict[str, Any]:
    """Return what is shown of one step: of several crosscoders the variance explained per stream, in the mean."""
    if len(steps) == 1:
        return {"fve": steps[0].fve, "l0": steps[0].l0, "dead_share": steps[0].dead_share}
    return {"fve": tuple(map(fmean, zip(*(step.fve for step in steps), strict=True)))}


def _check_alike(trainings: Mapping[str, TrainingConfig], common: TrainingConfig) -> None:
    for name, training in trainings.items():
        if (training.tokens, training.batch_tokens) != (common.tokens, common.batch_tokens):
            raise ValueError(
                f"{name} takes {training.tokens} tokens in batches of {training.batch_tokens}, the run {common.tokens}"
                f" in batches of {common.batch_tokens}: crosscoders trained from one stream take the same"
            )
