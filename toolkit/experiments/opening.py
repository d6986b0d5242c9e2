"""Opens what an experiment's settings name: a run, an adapter, or models alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.run import Run
from toolkit.harvest.choices import EMBEDDED
from toolkit.interventions.edits import check_match
from toolkit.models.model_set import ModelSet
from toolkit.models.pair import ModelPair
from toolkit.models.presets import find_pair
from toolkit.models.sources import find_sources
from toolkit.models.where import Where
from toolkit.settings.adapters import AdapterChoice
from toolkit.settings.models import ModelChoice, StitchedModels
from toolkit.settings.remote_start import hosted_pair
from toolkit.stitching.opening import StitchableModels


def open_named(settings: Any, given: Any = None) -> Any:
    """Open what an experiment's settings name: a `Run`, an `AdapterRun`, the models alone, or nothing (None); or take
    what is given.

    Where no crosscoder is asked for, a run that is given stands for its models, or where an experiment reads text and
    names none, for its models and its text. Raises `ValueError` where a crosscoder is asked for and something else is
    given.
    """
    if (adapter := getattr(settings, "adapter", None)) is not None:
        return _named_adapter(settings, adapter, given)
    if hasattr(settings, "crosscoder"):
        if given is None:
            return Run.of(settings.crosscoder, settings.text, settings.models, settings.where).load()
        if not isinstance(given, Run):
            asked = type(settings).__name__
            raise ValueError(f"{asked} asks about a crosscoder, {type(given).__name__} has none: give Run.open(folder)")
        return given
    if given is not None:
        reads_its_text = hasattr(settings, "text") and settings.text.data is None
        return given if reads_its_text else models_of(given)
    if not hasattr(settings, "where") or not isinstance(settings.models, ModelChoice):
        return None
    opens = open_stitchable if isinstance(settings.models, StitchedModels) else open_models
    return opens(settings.models, settings.where)


def _named_adapter(settings: Any, adapter: AdapterChoice | Path, given: Any) -> AdapterRun:
    if given is None:
        choice = AdapterChoice(run=adapter) if isinstance(adapter, Path) else adapter
        return AdapterRun.of(choice, settings.text, settings.models, settings.where).load()
    if not isinstance(given, AdapterRun):
        asked = type(settings).__name__
        raise ValueError(
            f"{asked} asks about an adapter, {type(given).__name__} has none: give AdapterRun.open(folder)"
        )
    return given


def models_of(opened: Any) -> Any:
    """The models that were opened, a run's or alone; None where nothing was."""
    return opened.models if isinstance(opened, Run | AdapterRun) else opened


def open_models(models: ModelChoice, where: Where) -> ModelPair:
    """The pair alone, for questions that need no crosscoder; default: the embedded one, on NDIF one that it hosts."""
    return _named(models, where).open(where)


def open_stitchable(models: ModelChoice, where: Where) -> StitchableModels:
    """The same two models, each with its own tokenizer: their depths, widths and vocabularies may differ."""
    named = _named(models, where)
    chosen = find_pair(named.pair, named.base, named.distilled)
    return StitchableModels.open(find_sources({"base": chosen.base, "distilled": chosen.distilled}), where=where)


def _named(models: ModelChoice, where: Where) -> ModelChoice:
    if models.are_named():
        return models
    return ModelChoice(pair=hosted_pair(where.insecure_host) if where.remote else EMBEDDED)


def crosscoder_of(models: ModelSet, folder: Path, *, other_models: bool) -> Crosscoder:
    """Open a crosscoder beside models that are open already; raises `ValueError` as `check_match` does."""
    opened = Crosscoder.from_pretrained(folder)
    check_match(replace(models, layers=opened.config.layers), opened, other_models=other_models)
    return opened.to(models.device)
