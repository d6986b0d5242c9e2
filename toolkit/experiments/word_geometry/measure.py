"""Do word pairs of one class share a step in activation space, and does distillation change that?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.artifacts import sha256
from toolkit.experiments.control import is_embedded, with_control
from toolkit.experiments.word_geometry import WordGeometryConfig
from toolkit.geometry.components import Components, refitted_coordinates
from toolkit.geometry.parallelogram import PairDraws, ParallelogramLoss, parallelogram_loss, scaled_losses
from toolkit.harvest.word_pairs import TokenPairs, load_word_pairs, prefix_token, single_tokens, word_rows, word_states
from toolkit.leaving_out import TooFewError, check_any, measurable
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.models.presets import in_checkout
from toolkit.tracking import track

DIMS = (2, 5, 10, 20)
FEWEST_PAIRS = 8  # of fewer, too many resamples hold no four pairs to compare


@dataclass(frozen=True, kw_only=True)
class ModelGeometry:
    """One class of words in one model."""

    by_dims: Mapping[int, ParallelogramLoss]
    """The loss at the site, by the number of principal components kept."""
    variance_explained: Mapping[int, float]
    """Share of the words' variance that these keep."""
    embedded: ParallelogramLoss
    """The harmonic-loss paper's variant: input embeddings, as many components as the most of `by_dims`."""


@dataclass(frozen=True, kw_only=True)
class WordGeometry:
    """Every class in every model; all models were measured on the same draws."""

    given: tuple[TokenPairs, ...]
    """Every class asked for, those with too few single tokens among them."""
    classes: Mapping[str, Mapping[str, ModelGeometry]]
    """Class to model to its geometry: first the model that is the reference, then the one examined, then yardsticks."""
    prefix: str | None
    """The token before each word, as text."""
    left_out: Mapping[str, str]
    """Why a class was not measured, by name."""

    @property
    def models(self) -> list[str]:
        """Their names, in the order of `classes`."""
        return list(next(iter(self.classes.values())))

    def origin(self) -> dict[str, Any]:
        """Sha256 of every file of word pairs; what ships by its place in the checkout."""
        return {"words": {in_checkout(each.source): sha256(each.source) for each in self.given}}


def measure(settings: WordGeometryConfig, opened: ModelSet) -> WordGeometry:
    """Read all words in each model and compare every two pairs of a class.

    A class without eight pairs of single tokens is left out. Raises `ValueError` where none is left, and as reading
    word pairs does.
    """
    sources = settings.words or ("embedded" if is_embedded(opened) else "everyday",)
    given = tuple(single_tokens(opened.tokenizer, words, spaced=settings.spaced) for words in load_word_pairs(sources))
    by_name = {words.name: words for words in given}
    remedy = "give other words" if settings.spaced else "give other words, or --spaced to read them after a space"
    measured_words, left_out = measurable(by_name, lambda name: enough_pairs(by_name[name], remedy))
    check_any(measured_words, left_out)
    kept = list(measured_words.values())
    prefix = None if settings.paper else prefix_token(opened.tokenizer, settings.prefix)
    rows = word_rows(torch.cat([words.ids.flatten() for words in kept]), prefix)
    opened.check_ids(rows, torch.ones_like(rows))
    generator = torch.Generator().manual_seed(settings.seed)
    models = with_control(settings.models, settings.where, opened)
    draws = {words.name: PairDraws.draw(len(words.pairs), generator) for words in kept}
    measured = {
        name: _measure_model(model, rows, draws, opened.layers[0], settings.shared_components)
        for name, model in track(models.items(), "measuring", "models")
    }
    return WordGeometry(
        given=given,
        classes={name: {model: of[name] for model, of in measured.items()} for name in draws},
        prefix=None if prefix is None else str(opened.tokenizer.decode([prefix])),
        left_out=left_out,
    )


def enough_pairs(words: TokenPairs, remedy: str) -> TokenPairs:
    """The words; raises `TooFewError`, with the remedy, where fewer than eight pairs are single tokens."""
    if len(words.pairs) < FEWEST_PAIRS:
        raise TooFewError(
            f"{words.name}: of {len(words.pairs)} of {words.n_given} pairs both words are one token of this tokenizer,"
            f" and {FEWEST_PAIRS} are needed: {remedy}"
        )
    return words


def _measure_model(
    model: TracedModel, rows: Tensor, draws: Mapping[str, PairDraws], layer: int, shared_components: bool
) -> dict[str, ModelGeometry]:
    sizes = [2 * of_class.left_out.shape[1] for of_class in draws.values()]
    embeddings, states = word_states(model, rows, [0, layer])
    shared = Components.fit(states) if shared_components else None
    by_class = track([*zip(draws, embeddings.split(sizes), states.split(sizes), strict=True)], "classes", "classes")
    return {name: _measure_class(embedded, at_site, draws[name], shared) for name, embedded, at_site in by_class}


def _measure_class(
    embedded: Float[Tensor, "word d_model"],
    at_site: Float[Tensor, "word d_model"],
    draws: PairDraws,
    shared: Components | None,
) -> ModelGeometry:
    """The words of a class stand in the order first, second, first, second, …

    Components of a class's own words are fitted anew without each group of pairs; those of all classes stay.
    """
    components = shared or Components.fit(at_site)
    refitted = _refitted(at_site, draws) if shared is None else None
    projected = {dims: components.project(at_site, dims) for dims in DIMS}
    by_dims = {}
    for dims, x in track(projected.items(), "dimensions", "dimensions"):
        refits = None if refitted is None else refitted[..., : x.shape[1]]
        by_dims[dims] = parallelogram_loss(x[::2], x[1::2], draws, refitted=refits)
    return ModelGeometry(
        by_dims=by_dims,
        variance_explained={dims: components.variance_explained(dims) for dims in DIMS},
        embedded=embedded_loss(embedded, draws),
    )


def embedded_loss(words: Float[Tensor, "word d_model"], draws: PairDraws) -> ParallelogramLoss:
    """Return the harmonic-loss paper's variant of the loss, of the input embeddings of a class's words.

    The words stand in the order first, second, first, second, …
    """
    x, refitted = Components.fit(words).project(words, max(DIMS)), _refitted(words, draws)
    return parallelogram_loss(x[::2], x[1::2], draws, scaled_losses, refitted=refitted[..., : x.shape[1]])


def _refitted(words: Float[Tensor, "word d_model"], draws: PairDraws) -> Float[Tensor, "group pair 2 dims"]:
    words_out = draws.left_out.repeat_interleave(2, dim=1)
    return refitted_coordinates(words, words_out, max(DIMS)).unflatten(1, (-1, 2))
