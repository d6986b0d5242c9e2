"""Splices a crosscoder's reconstruction into each model, and measures how its predictions get worse."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.activations import read_batches
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.interventions.edits import splice
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import divergence_and_loss
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.tracking import track


@dataclass(frozen=True, kw_only=True)
class SpliceEffect:
    """The effect of replacing one model's residual stream at one site by the reconstruction.

    `kl` is KL(untouched ‖ spliced) in nats a token; `kl_mean`, the control, has the mean activation in place of the
    reconstruction. `loss_recovered` is 1 where splicing adds no cross-entropy, 0 where it adds as much as the mean
    activation does. `n` counts predictions.
    """

    model: str
    layer: int
    kl: float
    kl_mean: float
    loss_recovered: float
    n: int


class _Read(NamedTuple):
    batch: TokenBatch
    selected: Bool[Tensor, "row position"]
    rebuilt: Float[Tensor, "crosscoder token stream d_model"]

    @property
    def predicts(self) -> Bool[Tensor, "row position"]:
        """Selected positions that are followed by another token."""
        return self.selected[:, :-1] & self.batch.attention_mask[:, 1:].bool()


@torch.no_grad()
def splice_effects(
    models: ModelSet,
    crosscoders: Sequence[Crosscoder],
    batches: Iterable[TokenBatch],
    mask: TokenMask,
    *,
    mean: Float[Tensor, "stream d_model"],
) -> list[list[SpliceEffect]]:
    """Return each crosscoder's effects in every model and layer, one spliced at a time.

    They are of predictions from tokens that `mask` keeps. `mean` is the mean of raw activations, the control. The
    untouched models and those with the mean run once for all crosscoders. The reconstructions of all batches are held
    at once: activations are read first, then each model runs by itself.
    """
    batches = list(batches)
    reading = track(read_batches(models, batches, mask), "reading text to splice", "batches", total=len(batches))
    reads = [
        _Read(read.batch, read.selected, torch.stack([each(read.activations.float()) for each in crosscoders]))
        for read in reading
    ]
    n = sum(int(read.predicts.sum()) for read in reads)
    if n == 0:
        raise ValueError("no prediction was measured: the held-out text has no two ordinary tokens in a row")
    sites = [(name, model, layer) for name, model in models.models.items() for layer in models.layers]
    found: list[list[SpliceEffect]] = [[] for _ in crosscoders]
    for stream, (name, model, layer) in enumerate(track(sites, "splicing", "sites")):
        batches_sums = [_sums(model, layer, read, stream, mean[stream]) for read in track(reads, "batches", "batches")]
        sums = torch.stack(batches_sums).sum(dim=0)
        untouched, *spliced, with_mean = sums / n
        for effects, means in zip(found, spliced, strict=True):
            effects.append(_effect(name, layer, torch.stack([untouched, means, with_mean]), n))
    return found


def _sums(
    model: TracedModel, layer: int, read: _Read, stream: int, mean: Float[Tensor, " d_model"]
) -> Float[Tensor, "edit 2"]:
    """KL from the untouched model and cross-entropy, summed over predictions: untouched, spliced, with the mean."""
    replacements = (*read.rebuilt[:, :, stream], mean[None])
    edits = [None, *(splice(layer, values, read.selected) for values in replacements)]
    ids = read.batch.input_ids
    of_rows = measure(model, ids, read.batch.attention_mask, edits, divergence_and_loss, (ids, read.predicts))
    return of_rows.sum(dim=1)


def _effect(name: str, layer: int, means: Float[Tensor, "3 2"], n: int) -> SpliceEffect:
    (_, loss), (kl, loss_spliced), (kl_mean, loss_mean) = means.unbind()
    return SpliceEffect(
        model=name,
        layer=layer,
        kl=float(kl),
        kl_mean=float(kl_mean),
        loss_recovered=float((loss_mean - loss_spliced) / (loss_mean - loss)),  # NaN if the mean adds none
        n=n,
    )
