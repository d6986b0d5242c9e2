"""The settings that a run folder was trained with, or those that stand for them."""

import os
from dataclasses import replace
from pathlib import Path

from toolkit.artifacts import read_section
from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.harvest.local_files import local_files
from toolkit.models.presets import CHECKOUT
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, PAPER_DEFAULTS, RunConfig
from toolkit.settings.models import ModelChoice


def with_models(run: RunConfig, models: ModelChoice, folder: Path) -> RunConfig:
    """The run's settings with the models that are asked for in place of its own; raises `ValueError` for none."""
    if models.are_named():
        return replace(run, models=models)
    if not run.models.are_named():
        raise ValueError(
            f"{folder} does not say which models it was trained on: give a pair by name, or base and distilled"
        )
    return run


def read_run(folder: Path) -> RunConfig | None:
    """The settings in a folder's `config.json`; None where it has none. Raises `ValueError` for those of something
    else."""
    path = folder / "config.json"
    saved = read_section(path, "run") if path.is_file() else {}
    if not saved:
        return None
    try:
        return RunConfig.from_settings(saved)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f'{path}: its "run" section is not that of a run ({error}): remove the section') from error


def trained_on(data: str, folder: Path) -> bool:
    """Whether the text is the run's own, or shares a file with it."""
    run = read_run(folder)
    if run is None or run.text.data == data:
        return run is not None
    given, own = (set(map(os.path.realpath, local_files(each))) for each in (data, run.text.data))
    return bool(given & own)


def default_settings(crosscoder: CrosscoderConfig) -> RunConfig:
    """Settings of a crosscoder without a run: those of its models."""
    if not crosscoder.sources:
        return PAPER_DEFAULTS
    base, distilled = (str(CHECKOUT / s) if (CHECKOUT / s).is_dir() else s for s in crosscoder.sources)
    embedded = crosscoder.sources[0].startswith("artifacts/organism")
    models = ModelChoice(base=base, distilled=distilled)
    return replace(EMBEDDED_DEFAULTS if embedded else PAPER_DEFAULTS, models=models)
