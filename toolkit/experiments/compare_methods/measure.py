"""Which method finds what distillation planted?"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from statistics import fmean
from typing import Any

from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.experiments.compare_methods import CompareMethodsConfig
from toolkit.experiments.compare_methods.effects import Effects, direction_effects
from toolkit.experiments.compare_methods.methods import DEFAULT, METHODS, Method, Units, first_means
from toolkit.experiments.compare_methods.reading import LAST, PairText, read_pair
from toolkit.experiments.compare_methods.study import (
    Firings,
    Floors,
    Found,
    found_by,
    on_choosing_half,
    probe_ceiling,
    random_floors,
)
from toolkit.experiments.control import control_source, is_embedded
from toolkit.experiments.layer_divergence.measure import open_text
from toolkit.experiments.opening import models_of
from toolkit.experiments.run import Run
from toolkit.harvest.documents import Corpus
from toolkit.latents.behaviours import planted_behaviours
from toolkit.latents.labelled_activations import LabelledTokens
from toolkit.latents.labelled_units import Readout, UnitsForLabel, spreads_over, units_for_labels
from toolkit.latents.random_dictionary import firings
from toolkit.latents.span_labels import LabelledDocuments, read_labelled_documents
from toolkit.models.model.unembedding import direction_tokens
from toolkit.models.model_set import ModelSet
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.settings.models import ModelChoice
from toolkit.statistics.estimates import FEWEST_GROUPS
from toolkit.tracking import track

SHOWN_TOKENS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class MethodFound:
    """What one method finds on one pair, with the plan that does best on the choosing half."""

    plan: TrainingConfig
    configurations: int
    """Plans that were tried."""
    any_unit: dict[str, Found]
    """By behaviour, the best of all units."""
    claimed: dict[str, Found]
    """The best of the units that the method calls the last model's own; empty where it calls none so."""
    n_claimed: float
    """How many these are, averaged over seeds."""
    seconds: float
    """Wall time of making one set of units and of scoring the labelled tokens with it, averaged over seeds."""
    parameters: int
    """Numbers that one set of units keeps."""
    l0: float
    """Units that fire on a labelled token, of the first seed; NaN where units are dense."""
    directions: dict[str, Float[Tensor, " d_model"]]
    """By behaviour the direction of the first seed's best unit; empty where units have none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairFound:
    """What every method finds on one pair."""

    tokens: LabelledTokens
    floors: Floors
    methods: dict[str, MethodFound]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """All that is found on the pair, and on the null pair where there is one."""

    pair: PairFound
    ceilings: dict[str, Readout]
    null: PairFound | None
    null_source: str
    """The control, or why there is none."""
    effects: dict[str, Effects]
    """By method, what its directions do in the last model."""
    first_tokens: dict[int, list[str]]
    """By position the tokens that the mean difference there promotes, by the logit lens."""
    labelled: LabelledDocuments
    origin: dict[str, Any]
    """What is known of the text."""


def measure(settings: CompareMethodsConfig, opened: ModelSet | Run) -> Comparison:
    """Fit every method to a pair and to its null pair, and test all of them on the same labelled documents.

    Of a run its models and its text are taken, not its crosscoder: every method learns from the same tokens.
    Raises `ValueError` for labels that are missing or too few, for models read at several layers, and for text that is
    too short.
    """
    models = models_of(opened)
    check_models(models)
    labelled = read_labels(settings, models)
    run, corpus = (opened.reading, opened.corpus) if isinstance(opened, Run) else open_text(settings, models)
    text = read_pair(run, models, corpus, labelled, settings.tokens)
    pair = fit_methods(settings, run, text)
    directions = {name: method.directions for name, method in pair.methods.items() if method.directions}
    effects = direction_effects(settings, models, text, directions)
    ceilings, first_tokens = probe_ceiling(text), promoted_first(models, text)
    control, null = control_source(settings.models.control, models), None
    if control is not None:
        del text  # the null pair's takes as much memory
        null = _null_pair(settings, run, corpus, models, control, labelled, pair)
    return Comparison(
        pair=pair,
        ceilings=ceilings,
        null=null,
        null_source=control or "no control was named: give --control",
        effects=effects,
        first_tokens=first_tokens,
        labelled=labelled,
        origin=corpus.origin,
    )


def check_models(models: ModelSet) -> None:
    """Raise `ValueError` for more or fewer than two streams: the difference methods compare two of one width."""
    if len(models.names) != 2 or len(models.layers) != 1:
        raise ValueError(
            f"methods are compared on two models at one layer, but {len(models.names)} are read at the input of layers"
            f" {', '.join(map(str, models.layers))}: give a pair, and layers=[one] from Python"
        )


def read_labels(settings: CompareMethodsConfig, models: ModelSet) -> LabelledDocuments:
    """The first `documents` labelled documents; raises `ValueError` for none, or too few for an interval."""
    if settings.labels is None and not is_embedded(models):
        raise ValueError(
            "nothing is known to be planted in these models: give labelled documents with --labels (.jsonl with text"
            " and spans, or annotated reasoning traces)"
        )
    found = (
        planted_behaviours(settings.documents) if settings.labels is None else read_labelled_documents(settings.labels)
    )
    kept = found.first(settings.documents)
    if len(kept.documents) < 2 * FEWEST_GROUPS:
        raise ValueError(
            f"{len(kept.documents)} labelled documents: half of them choose units and half test them, and an interval"
            f" needs {FEWEST_GROUPS} that test: give {2 * FEWEST_GROUPS} or more"
        )
    return kept


def fit_methods(
    settings: CompareMethodsConfig, run: RunConfig, text: PairText, plans: Mapping[str, TrainingConfig] | None = None
) -> PairFound:
    """Fit and test every method; `plans` are those chosen on another pair, else each method chooses its own here."""
    batch_tokens = min(run.training.batch_tokens, settings.tokens)
    common = replace(run.training, tokens=settings.tokens, batch_tokens=batch_tokens, precision="auto")
    floors: Floors = {}
    methods: dict[str, MethodFound] = {}
    for name, method in track(list(METHODS.items()), "methods", "methods"):
        tried = list(method.plans(settings, common)) if plans is None else [plans[name]]
        best = max((_make(text, method, plan, settings.seed) for plan in tried), key=lambda made: made.reached)
        others = range(settings.seed + 1, settings.seed + (settings.seeds if method.has_seeds else 1))
        made = [best, *(_make(text, method, best.plan, seed) for seed in others)]
        if name == DEFAULT:
            assert best.fired is not None, "its codes are sparse"
            floors = random_floors(text, best.fired, settings.draws, settings.seed)
        methods[name] = _found(made, len(tried), floors, text.labelled.tokens, has_seeds=method.has_seeds)
    return PairFound(tokens=text.labelled.tokens, floors=floors, methods=methods)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Made:
    """One set of units, and what it scores."""

    plan: TrainingConfig
    units: Units
    scores: Float[Tensor, "token unit"]
    reached: float
    """AUROC of the best unit on the choosing half, averaged over behaviours."""
    fired: Firings | None
    """On how many choosing tokens each unit fires; None where units are dense."""
    seconds: float

    def own(self) -> Float[Tensor, "token unit"]:
        """The scores of the units that the method calls the last model's own."""
        claimed = self.units.claimed
        return self.scores if claimed is None else self.scores.index_select(1, claimed.nonzero().squeeze(1))


def _make(text: PairText, method: Method, plan: TrainingConfig, seed: int) -> _Made:
    started, tokens = time.perf_counter(), text.labelled.tokens
    units = method.fit(text.running, plan, seed)
    scores = units.score(text)
    seconds = time.perf_counter() - started
    return _Made(
        plan=plan,
        units=units,
        scores=scores,
        reached=fmean(on_choosing_half(scores, tokens, units_for_labels(scores, tokens, 1))),
        fired=firings(scores, tokens.choosing) if scores.is_sparse else None,
        seconds=seconds,
    )


def _found(
    made: Sequence[_Made], configurations: int, floors: Floors, tokens: LabelledTokens, *, has_seeds: bool
) -> MethodFound:
    def over_seeds(by_seed: Sequence[Sequence[UnitsForLabel]]) -> dict[str, Found]:
        by_behaviour = list(zip(*by_seed, strict=True))
        spreads = spreads_over(by_behaviour)
        return {each[0].label: found_by(each, floors, tokens, spreads, has_seeds=has_seeds) for each in by_behaviour}

    first, directions = made[0], made[0].units.directions
    any_unit = [units_for_labels(each.scores, tokens) for each in made]
    own = [each.own() for each in made]
    claims = first.units.claimed is not None
    return MethodFound(
        plan=first.plan,
        configurations=configurations,
        any_unit=over_seeds(any_unit),
        claimed=over_seeds(
            [units_for_labels(each, tokens, 1) for each in own if each.shape[1]] if claims else any_unit
        ),
        n_claimed=fmean(each.shape[1] for each in own),
        seconds=fmean(each.seconds for each in made),
        parameters=first.units.parameters,
        l0=nan if first.fired is None else float(first.fired.sum()) / int(tokens.choosing.sum()),
        directions={} if directions is None else {each.label: directions[each.units[0]] for each in any_unit[0]},
    )


def promoted_first(models: ModelSet, text: PairText) -> dict[int, list[str]]:
    """The tokens that the mean difference at each first position promotes in the last model.

    Source: Minder et al. 2025, "Narrow finetuning leaves clearly readable traces in activation differences".
    """
    means, vocabulary = first_means(text.running), len(models.tokenizer)
    _, promoted, _, _ = direction_tokens(
        models.models[models.names[LAST]], means, vocabulary=vocabulary, tokens=SHOWN_TOKENS, together=len(means)
    )
    tokens = [models.tokenizer.batch_decode([[token] for token in row]) for row in promoted.tolist()]
    return dict(enumerate(tokens, start=1))


def _null_pair(
    settings: CompareMethodsConfig,
    run: RunConfig,
    corpus: Corpus,
    models: ModelSet,
    control: str,
    labelled: LabelledDocuments,
    pair: PairFound,
) -> PairFound:
    """The same on base and control, with the plans that were chosen on the pair."""
    opened = ModelChoice(base=models.sources[0], distilled=control).open(settings.where, models.layers)
    text = read_pair(run, opened, corpus, labelled, settings.tokens)
    return fit_methods(settings, run, text, {name: method.plan for name, method in pair.methods.items()})
