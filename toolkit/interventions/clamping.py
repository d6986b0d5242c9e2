"""Sets latents to a value while a model reads or generates text."""

import math
from typing import SupportsFloat

import torch
from torch import Tensor

from toolkit.arguments import Indices, as_number
from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.interventions.edits import stream_index, subtract
from toolkit.models.model.edits import Change, Edit
from toolkit.models.model.step import Step
from toolkit.models.model_set import ModelSet


class SetLatent(Change):
    """Sets latents to `value`, in units of their codes: x' = x + Σ (value − f_k) W_dec,k.

    Pass it as the `edit` of a model's `generate`, `logits` or `residual`. All models of the set also read the text, up
    to the site and without any edit, for the codes f_k; so in a sum of edits f_k are those of the unedited text.
    While a model generates, they read the new tokens at each step, from caches of their own. A value of 0 ablates.
    Raises `ValueError` for a latent that does not exist, a value that is not finite, or a crosscoder of several layers.
    """

    def __init__(
        self,
        models: ModelSet,
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
        self.models, self.crosscoder, self.value = models, crosscoder, value
        self.stream = stream_index(crosscoder, model)
        self.layer = crosscoder.config.layers[0]

    def __repr__(self) -> str:
        latents = ", ".join(map(str, self.latents))
        return f"SetLatent of latents {latents} to {self.value:g}, in stream {self.stream} at layer {self.layer}"

    @torch.no_grad()
    def of_text(self, input_ids: Tensor, attention_mask: Tensor) -> Edit:
        """Return the edit for whole texts; raises `ValueError` with `past`, and for ids not shared by the models."""
        if input_ids.shape != attention_mask.shape:
            raise ValueError("SetLatent reads whole texts, and these tokens follow others: leave out past")
        self.models.check_ids(input_ids, attention_mask)
        streams = [model.residual(input_ids, attention_mask, self.layer)[0] for model in self.models.models.values()]
        return self._edit(streams, attention_mask.bool())

    @torch.no_grad()
    def at(self, step: Step) -> Edit:
        """Return the edit for a step's new tokens; raises `ValueError` for ids that the models do not share."""
        self.models.check_ids(step.input_ids, step.attention_mask)
        streams = []
        for model in self.models.models.values():
            past = step.caches.of(self, model)
            streams += model.residual(step.input_ids, step.attention_mask, self.layer, past=past)
        return self._edit(streams, step.attention_mask[:, -step.input_ids.shape[1] :].bool())

    def _edit(self, streams: list[Tensor], positions: Tensor) -> Edit:
        activations = torch.stack([stream.to(self.crosscoder.b_dec) for stream in streams], dim=2)
        codes = self.crosscoder.encode(activations[positions.to(activations.device)])
        excess = codes[:, self.latents] - self.value
        return subtract(self.layer, excess @ self.crosscoder.W_dec[self.latents, self.stream], positions)
