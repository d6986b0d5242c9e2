"""Crosscoders on nnsight: what reasoning distillation changes inside a language model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.dictionaries.crosscoder import Crosscoder
    from toolkit.experiments.ablation.study import ablate
    from toolkit.experiments.examine import examine
    from toolkit.experiments.run import Run
    from toolkit.harvest.harvesting import harvest_chunks, harvest_texts
    from toolkit.interventions.clamping import SetLatent
    from toolkit.interventions.edits import steer
    from toolkit.models.files.model_files import Checkpoint
    from toolkit.models.model.sampling import Sampling
    from toolkit.models.pair import ModelPair
    from toolkit.models.where import Where

__all__ = [
    "Checkpoint",
    "Crosscoder",
    "ModelPair",
    "Run",
    "Sampling",
    "SetLatent",
    "Where",
    "ablate",
    "examine",
    "harvest_chunks",
    "harvest_texts",
    "steer",
]
_HOMES = {
    "Checkpoint": "models.files.model_files",
    "Crosscoder": "dictionaries.crosscoder",
    "ModelPair": "models.pair",
    "Run": "experiments.run",
    "Sampling": "models.model.sampling",
    "SetLatent": "interventions.clamping",
    "Where": "models.where",
    "ablate": "experiments.ablation.study",
    "examine": "experiments.examine",
    "harvest_chunks": "harvest.harvesting",
    "harvest_texts": "harvest.harvesting",
    "steer": "interventions.edits",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch and transformers take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
