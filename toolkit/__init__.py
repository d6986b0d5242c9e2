"""Crosscoders on nnsight: what reasoning distillation changes inside a language model."""

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.models.pair import ModelPair

__all__ = ["Crosscoder", "ModelPair"]
