"""Crosscoders on nnsight: what reasoning distillation changes inside a language model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.dictionaries.crosscoder import Crosscoder
    from toolkit.interventions.ablation_study import ablate
    from toolkit.interventions.clamping import SetLatent
    from toolkit.interventions.edits import steer
    from toolkit.models.pair import ModelPair
    from toolkit.models.remote import Remote
    from toolkit.models.sampling import Sampling

__all__ = ["Crosscoder", "ModelPair", "Remote", "Sampling", "SetLatent", "ablate", "steer"]
_HOMES = {
    "Crosscoder": "dictionaries.crosscoder",
    "ModelPair": "models.pair",
    "Remote": "models.remote",
    "Sampling": "models.sampling",
    "SetLatent": "interventions.clamping",
    "ablate": "interventions.ablation_study",
    "steer": "interventions.edits",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch and transformers take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
