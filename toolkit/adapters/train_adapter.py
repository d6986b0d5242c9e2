"""Trains an adapter on a user's own texts, in one call."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import islice
from typing import Any

import torch

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.configs import AdapterTrainingConfig
from toolkit.adapters.layerwise import check_layerwise
from toolkit.adapters.trainer import AdapterStep, AdapterTrainer
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.fields import check_names
from toolkit.library_warnings import ToolkitWarning
from toolkit.models.model.layers import attention_window
from toolkit.models.presets import in_checkout
from toolkit.models.sources import Model, Source, find_sources
from toolkit.models.text.inputs import as_rows, check_context, is_single
from toolkit.models.text.rows import padded
from toolkit.models.where import Where, as_where

ROW_LENGTH = 320


def train_adapter(
    texts: Iterable[Any],
    *,
    base: Model,
    distilled: Model,
    row_length: int = ROW_LENGTH,
    where: Where | Any = "auto",
    seed: int = 0,
    on_step: Callable[[AdapterStep], object] | None = None,
    **settings: Any,
) -> AdaptedModel:
    """Train an adapter on texts, and return the models with it: its `transcoders` are the adapter.

    `texts` are strings or conversations, each cut to `row_length` tokens, in the order in which they are to be read: a
    list (`texts * 5` for five passes), or an iterator, which needs `sequences=`. Texts of one token are left out.
    Settings are the fields of `AdapterTrainingConfig` as keywords; the schedule is fitted to the texts that there are.
    `on_step` is called with the figures of each step.

    Raises:
        ValueError: models, texts or settings are invalid, or no text has two tokens.
        NonFiniteError: see `AdapterTrainer.step`.
    """
    texts = [texts] if is_single(texts) else texts
    training = _fitted(settings, texts)
    sources = find_sources({"base": base, "distilled": distilled})
    adapted = open_untrained(sources, training.n_latents, seed, as_where(where))
    check_row_length(adapted, row_length, f"row_length {row_length}")
    trainer = AdapterTrainer(training, adapted, seed=seed)
    rows = _rows(adapted, texts, row_length)
    while trainer.steps_done < training.steps and (batch := list(islice(rows, training.batch_sequences))):
        step = trainer.step(*padded(batch))
        if on_step is not None:
            on_step(step)
    if not trainer.steps_done:
        raise ValueError("no text has two tokens or more: give texts to train on")
    if trainer.steps_done < training.steps:
        seen = trainer.sequences_seen
        warnings.warn(
            f"the texts ended after {seen:,} of {training.sequences:,} documents of two tokens, before the learning"
            f" rate had fallen: give more, or sequences={seen}",
            ToolkitWarning,
            stacklevel=2,
        )
    sign(adapted, adapted.fingerprints())
    return adapted


def open_untrained(sources: Sequence[Source], n_latents: int, seed: int, where: Where) -> AdaptedModel:
    """Load base and distilled model, with an adapter as training begins; raises as `AdaptedModel.open` and
    `check_layerwise`."""
    shape = sources[-1].config()
    about = AdapterConfig(d_model=shape.hidden_size, n_layers=shape.num_hidden_layers, n_latents=n_latents)
    adapter = Adapter.initialised(about, torch.Generator().manual_seed(seed))
    opened = AdaptedModel.open(sources, adapter, where)
    check_layerwise(opened)
    return opened


def sign(adapted: AdaptedModel, fingerprints: Mapping[str, str]) -> Adapter:
    """Let the adapter say which models it was trained on, and return it."""
    adapter, sources = adapted.transcoders, adapted.sources
    adapter.config = replace(
        adapter.config,
        sources=tuple(in_checkout(source.name) for source in sources),
        fingerprints=tuple(fingerprints[source.role] for source in sources),
    )
    return adapter


def check_row_length(adapted: AdaptedModel, row_length: int, what: str) -> None:
    """Raise `ValueError` for rows beyond the model's context, or beyond the window of some of its layers."""
    check_context(row_length, adapted.distilled.context, what, "lower it to that")
    window = attention_window(adapted.module.config.get_text_config())
    if window is not None and row_length > window:
        raise ValueError(f"{what} exceeds the {window:,} tokens that some layers see at once: lower it to that")


def _fitted(settings: Mapping[str, Any], texts: Iterable[Any]) -> AdapterTrainingConfig:
    """The settings, for as many documents as were asked for, or else as there are."""
    check_names(AdapterTrainingConfig, settings, "train_adapter")
    there = len(texts) if isinstance(texts, Sized) else None
    if there is None and "sequences" not in settings:
        raise ValueError("the texts do not say how many they are: give sequences=, or a list")
    if there == 0:
        raise ValueError("there are no texts: give at least one")
    return AdapterTrainingConfig(**{"sequences": there} | dict(settings))


def _rows(adapted: AdaptedModel, texts: Iterable[Any], row_length: int) -> Iterator[list[int]]:
    for text in texts:
        (row,) = as_rows(adapted.tokenizer, text)
        if len(row) > 1:
            yield row[:row_length]
