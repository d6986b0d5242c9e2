"""Holds latents at a value while a model writes: their activations depend on both models and on every new token."""

import math
from typing import SupportsFloat

import torch
from transformers import Cache

from toolkit.arguments import Indices, as_number
from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.interventions.edits import stream_index, subtract
from toolkit.models.model.edits import Edit
from toolkit.models.model.generation import Step
from toolkit.models.pair import ModelPair


class SetLatent:
    """Sets latents to `value`, in units of their codes: x' = x + Σ (value − f_k) W_dec,k.

    Pass it as the `edit` of a model's `generate`. At each step both models read the new tokens up to the site, from
    caches of their own; the edit changes nothing below the site, so that the activations stay those of the text. A
    value of 0 ablates.
    Raises `ValueError` for a latent that does not exist, a value that is not finite, or a crosscoder of several layers.
    """

    def __init__(
        self,
        pair: ModelPair,
        crosscoder: Crosscoder,
        *,
        latent: Indices,
        value: SupportsFloat,
        model: str = "distilled",
    ) -> None:
        self.latents = list(dict.fromkeys(check_latents(latent, crosscoder.config.n_latents)))
        value = as_number(value, "value")
        if not math.isfinite(value):
            raise ValueError(f"value {value} is not finite: give 0 to ablate, or a code as encode returns them")
        self.pair, self.crosscoder, self.value = pair, crosscoder, value
        self.stream = stream_index(crosscoder, model)
        self.layer = crosscoder.config.layers[0]
        self._past: list[Cache] = []

    @torch.no_grad()
    def __call__(self, step: Step) -> Edit:
        """The edit for the tokens that are read now; raises `ValueError` for ids that the models do not share."""
        self.pair.check_ids(step.input_ids, step.attention_mask)
        models = (self.pair.base, self.pair.distilled)
        new = step.input_ids.shape[1]
        if step.attention_mask.shape[1] == new:  # nothing was read before: a generation begins
            self._past = [model.empty_cache() for model in models]
        streams = []
        for model, past in zip(models, self._past, strict=True):
            if past.get_seq_length() and len(step.kept) < len(past.layers[0].keys):
                past.batch_select_indices(step.kept.to(model.device))
            streams += model.residual(step.input_ids, step.attention_mask, [self.layer], past=past)
        positions = step.attention_mask[:, -new:].bool()
        activations = torch.stack([stream.to(self.crosscoder.b_dec) for stream in streams], dim=2)
        codes = self.crosscoder.encode(activations[positions.to(activations.device)])
        excess = codes[:, self.latents] - self.value
        return subtract(self.layer, excess @ self.crosscoder.W_dec[self.latents, self.stream], positions)
