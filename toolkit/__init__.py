"""Crosscoders on nnsight: what reasoning distillation changes inside a language model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.dictionaries.configs import TrainingConfig
    from toolkit.dictionaries.crosscoder import Crosscoder
    from toolkit.dictionaries.latent_scaling import latent_scaling
    from toolkit.dictionaries.metrics import evaluate
    from toolkit.dictionaries.train_crosscoder import train_crosscoder
    from toolkit.experiments.ablation.ablate import ablate
    from toolkit.experiments.examine import examine
    from toolkit.experiments.run import Run
    from toolkit.harvest.harvesting import harvest_chunks, harvest_texts
    from toolkit.interventions.clamping import SetLatent
    from toolkit.interventions.edits import steer
    from toolkit.latents.classification import classify
    from toolkit.latents.logit_lens import logit_lens
    from toolkit.latents.reading import read_latents
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
    "TrainingConfig",
    "Where",
    "ablate",
    "classify",
    "evaluate",
    "examine",
    "harvest_chunks",
    "harvest_texts",
    "latent_scaling",
    "logit_lens",
    "read_latents",
    "steer",
    "train_crosscoder",
]
_HOMES = {
    "Checkpoint": "models.files.model_files",
    "Crosscoder": "dictionaries.crosscoder",
    "ModelPair": "models.pair",
    "Run": "experiments.run",
    "Sampling": "models.model.sampling",
    "SetLatent": "interventions.clamping",
    "TrainingConfig": "dictionaries.configs",
    "Where": "models.where",
    "ablate": "experiments.ablation.ablate",
    "classify": "latents.classification",
    "evaluate": "dictionaries.metrics",
    "examine": "experiments.examine",
    "harvest_chunks": "harvest.harvesting",
    "harvest_texts": "harvest.harvesting",
    "latent_scaling": "dictionaries.latent_scaling",
    "logit_lens": "latents.logit_lens",
    "read_latents": "latents.reading",
    "steer": "interventions.edits",
    "train_crosscoder": "dictionaries.train_crosscoder",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch and transformers take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
