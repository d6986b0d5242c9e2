"""Crosscoders on nnsight: what reasoning distillation changes inside a language model."""
