"""Crosscoders on nnsight: what reasoning distillation changes inside a language model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.dictionaries.crosscoder import Crosscoder
    from toolkit.experiments.ablation.study import ablate
    from toolkit.interventions.clamping import SetLatent
    from toolkit.interventions.edits import steer
    from toolkit.models.model.sampling import Sampling
    from toolkit.models.pair import ModelPair
    from toolkit.models.places.ndif.remote import Remote

__all__ = ["Crosscoder", "ModelPair", "Remote", "Sampling", "SetLatent", "ablate", "steer"]
_HOMES = {
    "Crosscoder": "dictionaries.crosscoder",
    "ModelPair": "models.pair",
    "Remote": "models.places.ndif.remote",
    "Sampling": "models.model.sampling",
    "SetLatent": "interventions.clamping",
    "ablate": "experiments.ablation.study",
    "steer": "interventions.edits",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch and transformers take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
