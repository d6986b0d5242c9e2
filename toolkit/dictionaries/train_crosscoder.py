"""Trains a crosscoder on a user's own activations, in one call."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import torch

from toolkit.arguments import Indices, as_indices
from toolkit.dictionaries.activation_batches import (
    Activations,
    NonFiniteError,
    batches_of,
    count_tokens,
    describe_streams,
    rebatched,
)
from toolkit.dictionaries.configs import TrainingConfig, model_names
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.initialisation import INITIAL_TOKENS, initialise
from toolkit.dictionaries.training import CrosscoderTrainer, StepMetrics, train
from toolkit.fields import check_names
from toolkit.library_warnings import ToolkitWarning


def train_crosscoder(
    activations: Activations,
    training: TrainingConfig | None = None,
    *,
    models: str | Sequence[str] = (),
    layers: Indices = (),
    seed: int = 0,
    on_step: Callable[[StepMetrics], object] | None = None,
    **settings: Any,
) -> Crosscoder:
    """Train a crosscoder on raw activations, on the device of the first of them, and return it.

    `activations` are [token, stream, d_model]: a tensor, a list of tensors of any sizes (`[x] * 5` for five passes), an
    iterator of them, which needs `tokens=`, or what `harvest_texts` returned. There is a stream for each model, or for
    each model and layer, models first; one stream makes a sparse autoencoder. Each tensor's tokens are taken in random
    order. `models` and `layers` name the streams; what was harvested has its own names, two other models are base and
    distilled.

    Settings are a `TrainingConfig` or its fields as keywords; the schedules are fitted to the tokens that there are.
    `on_step` is called with the metrics of each step.

    Raises:
        ValueError: activations, names or settings are invalid, or there is less than one batch of activations.
        NonFiniteError: the activations, or the results of a step, hold NaN or infinity.
    """
    training = _fitted(training, settings, count_tokens(activations))
    generator = torch.Generator().manual_seed(seed)
    batches = rebatched(batches_of(activations), training.batch_tokens, generator)
    first = list(islice(batches, min(training.steps, math.ceil(INITIAL_TOKENS / training.batch_tokens))))
    if not first:
        raise ValueError(
            f"the activations hold less than one batch of {training.batch_tokens} tokens: give more, or a lower"
            " batch_tokens="
        )
    start = torch.cat(first)
    if not start.isfinite().all():
        raise NonFiniteError(1, describe_streams(start))
    models, layers, sources = _origin(activations, models, layers)
    names, numbers = _name_streams(start.shape[1], models, layers)
    state = initialise(training, len(names), start, generator)
    trainer = CrosscoderTrainer(training, state, models=names, layers=numbers, sources=sources)
    for (metrics,) in train([trainer], chain(first, batches)):
        if on_step is not None:
            on_step(metrics)
    if trainer.steps_done < training.steps:
        warnings.warn(
            f"the activations ended after {trainer.tokens_seen:,} of {training.tokens:,} tokens, before the schedules"
            f" did: give more, or tokens={trainer.tokens_seen}",
            ToolkitWarning,
            stacklevel=2,
        )
    return trainer.crosscoder()


def _fitted(training: TrainingConfig | None, settings: dict[str, Any], there: int | None) -> TrainingConfig:
    """Return the settings for as many tokens as were asked for, or else as there are."""
    limits = [limit for limit in (there, training.tokens if training else None) if limit is not None]
    asked = settings.get("tokens", min(limits, default=None))
    if asked is None:
        raise ValueError("the activations do not say how many tokens they hold: give tokens=, or a list of tensors")
    if there == 0:
        raise ValueError("the activations hold no tokens: give at least one batch")
    if there is not None and asked > there:
        raise ValueError(f"tokens={asked}: the activations hold {there}; leave it out, or give them again, as [x] * 5")
    check_names(TrainingConfig, settings, "train_crosscoder")
    start = training or TrainingConfig(tokens=asked, batch_tokens=min(TrainingConfig.batch_tokens, asked))
    chosen: dict[str, Any] = {"tokens": asked} | settings
    return replace(start, **chosen)


def _origin(
    activations: Any, models: str | Sequence[str], layers: Indices
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]]:
    """Return models, layers and the models' sources as they are given, else those of the `Harvest`."""
    names, numbers = (models,) if isinstance(models, str) else tuple(models), as_indices(layers, "layer")
    read = activations[0] if isinstance(activations, list | tuple) and activations else activations
    sources = () if names else getattr(read, "origins", ())
    return names or getattr(read, "models", ()), numbers or getattr(read, "layers", ()), sources


def _name_streams(
    n_streams: int, names: tuple[str, ...], numbers: tuple[int, ...]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    names = names or model_names(max(1, n_streams // max(1, len(numbers))))
    numbers = numbers or tuple(range(-max(1, n_streams // len(names)), 0))
    if len(names) * len(numbers) != n_streams:
        raise ValueError(
            f"the activations have {n_streams} streams, but models {names} at layers {numbers} make"
            f" {len(names) * len(numbers)}: name each model and each layer that there is a stream of"
        )
    return names, numbers
