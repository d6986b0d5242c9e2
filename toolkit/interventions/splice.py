"""Splices a crosscoder's reconstruction into each model and measures what it costs."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.masks import TokenMask
from toolkit.harvest.tokens import TokenBatch
from toolkit.interventions.edits import splice
from toolkit.models.pair import ModelPair


@dataclass(frozen=True, kw_only=True)
class SpliceEffect:
    """One model whose residual stream at one site was replaced by the reconstruction.

    `kl` is KL(untouched ‖ spliced) in nats a token; `kl_mean`, the control, has the mean activation in place of the
    reconstruction. `loss_recovered` is 1 where splicing costs no cross-entropy, 0 where it costs as much as the mean
    does.
    `n` counts predictions.
    """

    model: str
    layer: int
    kl: float
    kl_mean: float
    loss_recovered: float
    n: int


@torch.no_grad()
def splice_effects(
    pair: ModelPair,
    crosscoder: Crosscoder,
    batches: Iterable[TokenBatch],
    mask: TokenMask,
    *,
    mean: Float[Tensor, "stream d_model"],
) -> list[SpliceEffect]:
    """Effects at every model and layer, one spliced at a time, on predictions from the tokens that `mask` keeps.

    `mean` is the mean of raw activations, the control.
    """
    models = dict(zip(pair.names, (pair.base, pair.distilled), strict=True))
    sites = [(name, layer) for name in models for layer in pair.layers]
    totals = torch.zeros(len(sites), 6, dtype=torch.float64)
    for batch in batches:
        residual = pair.residual(batch.input_ids, batch.attention_mask)
        selected = mask.select(batch, residual)
        activations = residual[selected].float()
        reconstructed = crosscoder(activations)
        clean = {name: model.logits(batch.input_ids, batch.attention_mask) for name, model in models.items()}
        for index, (name, layer) in enumerate(sites):
            edited = [
                models[name].logits(
                    batch.input_ids, batch.attention_mask, edit=splice(layer, values[:, index], selected)
                )
                for values in (reconstructed, mean.to(activations).expand_as(activations))
            ]
            totals[index] += _sums(batch, selected, clean[name], *edited)
    return [_effect(name, layer, row) for (name, layer), row in zip(sites, totals, strict=True)]


def _sums(batch: TokenBatch, selected: Tensor, clean: Tensor, spliced: Tensor, mean: Tensor) -> Tensor:
    """Sums over predictions: both KLs, the three cross-entropies, and their number; [6] in float64."""
    predicts = (selected[:, :-1] & batch.attention_mask[:, 1:].bool().to(selected.device)).to(clean.device)
    target = batch.input_ids[:, 1:].to(clean.device)[predicts]
    logits = [each[:, :-1][predicts].float() for each in (clean, spliced, mean)]
    log_p, log_spliced, log_mean = (each.log_softmax(dim=-1) for each in logits)
    p = log_p.exp()
    kls = [(p * (log_p - log_q)).sum() for log_q in (log_spliced, log_mean)]
    losses = [cross_entropy(each, target, reduction="sum") for each in logits]
    return torch.stack([*kls, *losses, predicts.sum()]).double().cpu()


def _effect(name: str, layer: int, sums: Tensor) -> SpliceEffect:
    n = float(sums[5])
    if n == 0:
        raise ValueError("no prediction was measured: the held-out text has no two ordinary tokens in a row")
    kl, kl_mean, loss, loss_spliced, loss_mean = (sums[:5] / n).unbind()
    return SpliceEffect(
        model=name,
        layer=layer,
        kl=float(kl),
        kl_mean=float(kl_mean),
        loss_recovered=float((loss_mean - loss_spliced) / (loss_mean - loss)),  # NaN where the mean costs nothing
        n=int(n),
    )
