"""Splices a crosscoder's reconstruction into each model, and measures how its predictions get worse."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log, nan
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
from toolkit.statistics.estimates import Estimate, given_one, jackknife, ratio_of_sums
from toolkit.tracking import track


@dataclass(frozen=True, kw_only=True)
class SpliceEffect:
    """The effect of replacing one model's residual stream at one site by the reconstruction.

    Every interval is one over documents, each a row of the batches, and takes the crosscoder as given.
    """

    model: str
    layer: int
    kl: Estimate
    """KL(untouched ‖ spliced) in nats a token."""
    kl_mean: Estimate
    """The control: the same with the mean activation in place of the reconstruction."""
    loss_recovered: Estimate
    """1 where splicing adds no cross-entropy, 0 where it adds as much as the mean activation does.

    NaN, and `note` says why, where the model predicts worse than a uniform guess, so that there is nothing to recover,
    and where the mean activation adds no cross-entropy.
    """
    n: int
    """Number of predictions."""


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
    untouched models and those with the mean run once for all crosscoders, untouched ones for all layers. The
    reconstructions of all batches are held at once: activations are read first, then each model runs by itself.
    """
    batches = list(batches)
    reading = track(read_batches(models, batches, mask), "reading text to splice", "batches", total=len(batches))
    reads = [_Read(read.batch, read.selected, _rebuilt(crosscoders, read.activations)) for read in reading]
    sizes = torch.cat([torch.zeros(0), *(read.predicts.sum(dim=1).cpu() for read in reads)]).double()
    if not sizes.any():
        raise ValueError("no prediction was measured: the held-out text has no two ordinary tokens in a row")
    found: list[list[SpliceEffect]] = [[] for _ in crosscoders]
    n = len(models.layers)
    for number, (name, model) in enumerate(track(models.models.items(), "splicing", "models")):
        own = slice(number * n, (number + 1) * n)
        of_batches = [
            _sums(model, models.layers, read, read.rebuilt[:, :, own], mean[own])
            for read in track(reads, "batches", "batches")
        ]
        untouched, *edited = torch.cat(of_batches, dim=1)[:, sizes > 0].cpu()
        for layer, of_layer in zip(models.layers, torch.stack(edited).chunk(n), strict=True):
            *spliced, with_mean = of_layer
            for effects, of_one in zip(found, spliced, strict=True):
                sums = torch.stack([untouched, of_one, with_mean])
                effects.append(_effect(name, layer, sums, sizes[sizes > 0], uniform=log(models.vocab_size)))
    return found


def _rebuilt(
    crosscoders: Sequence[Crosscoder], activations: Float[Tensor, "token stream d_model"]
) -> Float[Tensor, "crosscoder token stream d_model"]:
    """The reconstructions, on the first crosscoder's device."""
    device = crosscoders[0].b_dec.device
    return torch.stack([each(activations.float()).to(device) for each in crosscoders])


def _sums(
    model: TracedModel,
    layers: Sequence[int],
    read: _Read,
    rebuilt: Float[Tensor, "crosscoder token layer d_model"],
    mean: Float[Tensor, "layer d_model"],
) -> Float[Tensor, "edit row 2"]:
    """KL from the untouched model and cross-entropy, summed over a row's predictions.

    The edits are none, then at each layer the reconstruction of each crosscoder, and the mean.
    """
    edits = [
        splice(layer, values, read.selected)
        for number, layer in enumerate(layers)
        for values in (*rebuilt[:, :, number], mean[None, number])
    ]
    ids = read.batch.input_ids
    return measure(model, ids, read.batch.attention_mask, [None, *edits], divergence_and_loss, (ids, read.predicts))


def _effect(
    name: str, layer: int, sums: Float[Tensor, "3 document 2"], sizes: Float[Tensor, " document"], *, uniform: float
) -> SpliceEffect:
    (_, loss), (kl, loss_spliced), (kl_mean, loss_mean) = (each.unbind(dim=1) for each in sums)
    kept, added = loss_mean - loss_spliced, loss_mean - loss
    if why := _nothing_to_recover(float(loss.sum() / sizes.sum()), float(added.sum()), uniform):
        recovered = Estimate(nan, note=why)
    else:
        without = (kept.sum() - kept) / (added.sum() - added)
        recovered = given_one(jackknife(float(kept.sum() / added.sum()), without))
    return SpliceEffect(
        model=name,
        layer=layer,
        kl=given_one(ratio_of_sums(kl, sizes)),
        kl_mean=ratio_of_sums(kl_mean, sizes),
        loss_recovered=recovered,
        n=int(sizes.sum()),
    )


def _nothing_to_recover(loss: float, added: float, uniform: float) -> str:
    """Why a model's loss tells nothing of a reconstruction; empty where it does."""
    if loss > uniform:
        return f"the model predicts worse than a uniform guess: {loss:.2f} nats a token, and {uniform:.2f}"
    return "" if added > 0 else "the mean activation adds no cross-entropy"
