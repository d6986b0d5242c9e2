"""What each latent of a crosscoder adds to the logit of a word that follows: by gradients, and by ablation.

The logit is taken less the mean of all logits, and the crosscoder's error stays in the stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import no_type_check

import nnsight
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.interventions.ablation import Arm, ReadRows, ReadTargets
from toolkit.models.model.traced_model import TracedModel
from toolkit.tracking import track


@dataclass(frozen=True, kw_only=True, eq=False)
class Paths:
    """The paths from the latents of a crosscoder, at one stream of one model, to the words that the model predicts."""

    model: TracedModel
    crosscoder: Crosscoder
    stream: int
    """Which stream of the crosscoder is this model's."""
    read: ReadTargets
    """The words, with the streams before them."""

    def at_code(self) -> Float[Tensor, "target latent"]:
        """Return every latent's effect on each word: code × decoder row · gradient, summed over positions."""
        effects = torch.empty(len(self.read.targets.prefixes), self.crosscoder.config.n_latents)
        for rows in track(self.read.rows, "following gradients", "batches"):
            codes, x = self._codes(rows)
            along = self._gradient(rows, x)[1].to(codes) @ self._decoder.T
            effects[rows.where] = _by_row(rows, codes * along)
        return effects

    def along_path(self, latents: Sequence[int], steps: int) -> Float[Tensor, "latent target"]:
        """Return the effect of each of these latents, with the mean gradient as its code rises from 0 to what it is.

        All else in the stream stays. The mean is taken at `steps` points by Gauss's rule. Source: Sundararajan et al.
        2017 (integrated gradients), for the code of one latent.
        """
        points, weights = np.polynomial.legendre.leggauss(steps)
        effects = torch.zeros(len(latents), len(self.read.targets.prefixes))
        for rows in track(self.read.rows, "following paths", "batches"):
            codes, x = self._codes(rows)
            for number, latent in enumerate(latents):
                part = codes[:, latent, None] * self._decoder[latent]
                for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
                    gradient = self._gradient(rows, x - (1 - float(point)) * part)[1].to(part)
                    each = _by_row(rows, (part * gradient).sum(dim=1, keepdim=True))
                    effects[number, rows.where] += float(weight) * each[:, 0]
        return effects

    @torch.no_grad()
    def ablated(self, arms: Sequence[Arm]) -> Float[Tensor, "arm target"]:
        """Return how far the words' logits fall when each arm is taken out of the stream."""
        falls = torch.empty(len(arms), len(self.read.targets.prefixes))
        for rows in track(self.read.rows, "taking latents out", "batches"):
            codes, x = self._codes(rows)
            whole = self._logits(rows, x)
            for number, arm in enumerate(arms):
                falls[number, rows.where] = (whole - self._logits(rows, x - arm.part(codes, self.stream))).cpu()
        return falls

    @property
    def _decoder(self) -> Float[Tensor, "latent d_model"]:
        return self.crosscoder.W_dec[:, self.stream]

    @torch.no_grad()
    def _codes(self, rows: ReadRows) -> tuple[Float[Tensor, "token latent"], Float[Tensor, "token d_model"]]:
        streams = rows.streams.to(self.crosscoder.b_dec)
        return self.crosscoder.encode(streams), streams[:, self.stream]

    def _logits(self, rows: ReadRows, values: Float[Tensor, "token d_model"]) -> Float[Tensor, " row"]:
        return self._gradient(rows, values, wanted=False)[0]

    def _gradient(
        self, rows: ReadRows, values: Float[Tensor, "token d_model"], *, wanted: bool = True
    ) -> tuple[Float[Tensor, " row"], Float[Tensor, "token d_model"]]:
        """The words' logits less the mean of all, with these values in the stream, and their gradient of the values."""
        inputs = self.model.inputs(rows.batch.input_ids, rows.batch.attention_mask, None) | {"logits_to_keep": 1}
        layers = self.crosscoder.config.layers
        layer, targets = layers[self.stream % len(layers)], self.read.targets.target_ids[rows.where]
        found: tuple[Tensor, Tensor] = self.model.run(
            logits_with, inputs, layer, rows.positions, values, targets, wanted
        )
        return found


def _by_row(rows: ReadRows, values: Float[Tensor, "token latent"]) -> Float[Tensor, "row latent"]:
    """Sum values over each row's positions."""
    summed = values.new_zeros(len(rows.where), values.shape[1])
    return summed.index_add(0, rows.positions.nonzero()[:, 0].to(values.device), values).cpu()


@no_type_check
def logits_with(model, decoder, inputs, layer, positions, values, target_ids, wants_gradient):
    """Each row's last logit of its target less the mean of all, with `values` in the stream, and their gradient."""
    with torch.set_grad_enabled(wants_gradient), model.trace(**inputs):
        stream = decoder[layer].input
        leaf = values.detach().to(stream).requires_grad_(wants_gradient)
        changed = stream.detach().clone()
        changed[positions.to(stream.device)] = leaf
        decoder[layer].input = changed
        logits = model.output.logits[:, -1].float()
        logit = logits.gather(1, target_ids.to(logits.device)[:, None])[:, 0] - logits.mean(dim=1)
        gradient = torch.autograd.grad(logit.sum(), leaf)[0] if wants_gradient else leaf
        found = nnsight.save((logit.detach(), gradient))
    return found  # noqa: RET504 - a return inside a trace is lost
