"""The model that shows what more training alone explains: trained on from base, but not distilled."""

from toolkit.models.loading import load_model
from toolkit.models.pair import ModelPair
from toolkit.models.presets import CHECKOUT, PRESETS
from toolkit.models.tracing import TracedModel
from toolkit.runs.subject import ModelsConfig

EMBEDDED_CONTROL = CHECKOUT / "artifacts" / "organism" / "control"


def is_embedded(pair: ModelPair) -> bool:
    """Whether these are the models that ship with the project."""
    return pair.sources == (PRESETS["organism"].base, PRESETS["organism"].distilled)


def control_source(named: str | None, pair: ModelPair) -> str | None:
    """The control that is asked for, or the embedded pair's own; none for other pairs."""
    return named or (str(EMBEDDED_CONTROL) if is_embedded(pair) else None)


def open_control(source: str, pair: ModelPair, config: ModelsConfig) -> TracedModel:
    """Load the control beside its pair; raises `ValueError` for a model of another shape."""
    control = TracedModel(load_model(source, pair.tokenizer, config.dtype, config.device_map))
    ours, theirs = ((m.n_layers, m.d_model) for m in (pair.base, control))
    if ours != theirs:
        raise ValueError(
            f"--control {source} has {theirs[0]} layers of width {theirs[1]}, the pair {ours[0]} of {ours[1]}: give a"
            " model of the pair's shape"
        )
    return control
