"""The model that shows what more training alone explains: trained on from base, but not distilled."""

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.models.compatibility import check_not_the_same
from toolkit.models.files.identity import file_hashes
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.models.places.open_model import open_model
from toolkit.models.presets import CHECKOUT, PRESETS
from toolkit.models.sources import find_sources
from toolkit.models.where import Where
from toolkit.settings.models import ControlledModels
from toolkit.stitching.opening import StitchableModels

CONTROL = "control"
NO_CONTROL = "give --control a model trained further from base without distillation, or leave it out"
EMBEDDED_CONTROL = CHECKOUT / "artifacts" / "organism" / "control"


def is_embedded(opened: ModelSet | StitchableModels | AdaptedModel) -> bool:
    """Whether these are the models that ship with the project."""
    found = opened.sources if isinstance(opened, AdaptedModel) else opened.found
    return tuple(each.name for each in found) == PRESETS["organism"].models


def control_source(named: str | None, opened: ModelSet | StitchableModels) -> str | None:
    """The control that is asked for, or the embedded pair's own; none for other pairs."""
    return named or (str(EMBEDDED_CONTROL) if is_embedded(opened) else None)


def with_control(models: ControlledModels, where: Where, opened: ModelSet | StitchableModels) -> dict[str, TracedModel]:
    """All models by name, the control last, where there is one.

    Raises `ValueError` for a control of another shape than the first model, from which it was trained on, and for one
    that is one of the models.
    """
    source = control_source(models.control, opened)
    if source is None:
        return dict(opened.models)
    first = next(iter(opened.models.values()))
    (given,) = find_sources({CONTROL: source})
    check_not_the_same(given, opened.found, NO_CONTROL, remote=where.remote)
    control = open_model(source, first.tokenizer, where)
    ours, theirs = ((each.n_layers, each.d_model) for each in (first, control))
    if ours != theirs:
        raise ValueError(
            f"--control {source} has {theirs[0]} layers of width {theirs[1]}, the base model {ours[0]} of {ours[1]}:"
            " give a model of its shape"
        )
    return {**opened.models, CONTROL: control}


def control_files(models: ControlledModels, where: Where, opened: ModelSet | StitchableModels) -> dict[str, str]:
    """Sha256 of each file of the control; none where there is no control."""
    source = control_source(models.control, opened)
    return {} if source is None else file_hashes(source, remote=where.remote)
