"""The model that shows what more training alone explains: trained on from base, but not distilled."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from toolkit.experiments.run import Seeded, models_origin
from toolkit.models.files.identity import file_hashes
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.pair import ModelPair
from toolkit.models.places.open_model import open_model
from toolkit.models.presets import CHECKOUT, PRESETS
from toolkit.models.where import Where
from toolkit.settings.models import ControlledModels

CONTROL = "control"
EMBEDDED_CONTROL = CHECKOUT / "artifacts" / "organism" / "control"


def is_embedded(pair: ModelPair) -> bool:
    """Whether these are the models that ship with the project."""
    return pair.sources == (PRESETS["organism"].base, PRESETS["organism"].distilled)


def control_source(named: str | None, pair: ModelPair) -> str | None:
    """The control that is asked for, or the embedded pair's own; none for other pairs."""
    return named or (str(EMBEDDED_CONTROL) if is_embedded(pair) else None)


def with_control(models: ControlledModels, where: Where, pair: ModelPair) -> dict[str, TracedModel]:
    """All models by name, the control last, where there is one; raises `ValueError` for one of another shape."""
    named = dict(zip(pair.names, (pair.base, pair.distilled), strict=True))
    source = control_source(models.control, pair)
    if source is None:
        return named
    control = open_model(source, pair.tokenizer, where)
    ours, theirs = ((m.n_layers, m.d_model) for m in (pair.base, control))
    if ours != theirs:
        raise ValueError(
            f"--control {source} has {theirs[0]} layers of width {theirs[1]}, the pair {ours[0]} of {ours[1]}: give a"
            " model of the pair's shape"
        )
    return named | {CONTROL: control}


def control_files(models: ControlledModels, where: Where, pair: ModelPair) -> dict[str, str]:
    """Sha256 of each file of the control; none where there is no control."""
    source = control_source(models.control, pair)
    return {} if source is None else file_hashes(source, remote=where.remote)


@runtime_checkable
class Controlled(Seeded, Protocol):
    """Settings of an experiment with a control."""

    @property
    def models(self) -> ControlledModels:
        """Which models."""

    @property
    def where(self) -> Where:
        """Where they run."""


def controlled_origin(settings: Controlled, pair: ModelPair, data: Mapping[str, Any]) -> dict[str, Any]:
    """What findings came from, the control among the models; `data` is the text's own origin."""
    return models_origin(settings, pair, data, control_files(settings.models, settings.where, pair))
