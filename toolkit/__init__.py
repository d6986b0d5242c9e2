"""Crosscoders on nnsight: what reasoning distillation changes inside a language model."""

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.interventions.ablation_study import ablate
from toolkit.interventions.clamping import SetLatent
from toolkit.interventions.edits import steer
from toolkit.models.pair import ModelPair
from toolkit.models.remote import Remote

__all__ = ["Crosscoder", "ModelPair", "Remote", "SetLatent", "ablate", "steer"]
