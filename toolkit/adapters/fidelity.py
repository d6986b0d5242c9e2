"""How far the predictions and streams of a mode of an adapted model lie from the distilled model's, by document."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.losses import LARGEST_LOGITS
from toolkit.adapters.modes import Mode
from toolkit.adapters.stretches import Stretches
from toolkit.harvest.tokens import TokenBatch


@dataclass(frozen=True, kw_only=True, eq=False)
class Fidelity:
    """Sums over the tokens of each document, on the CPU. A layer's stream is its output."""

    predictions: Float[Tensor, " document"]
    """Tokens that have a next one."""
    kl: Float[Tensor, " document"]
    """Σ KL(distilled‖mode) over them, in nats."""
    nmse: Float[Tensor, "document layer"]
    """Σ‖h − h_ref‖² / Σ‖h_ref‖² over all tokens, as training minimises it: mostly the first token's, an attention sink
    of huge norm."""
    nmse_without_sink: Float[Tensor, "document layer"]
    """The mean of each token's own ratio, without the first token."""


def fidelity(adapted: AdaptedModel, batches: Iterable[TokenBatch], mode: Mode | None = None) -> Fidelity:
    """Compare a mode, by default the adapter's, with the distilled model on these documents; those of one token count
    nowhere."""
    stretches, mode = Stretches(adapted.module), mode or modes.adapter(adapted.n_layers)
    with torch.no_grad():
        parts = [_of_batch(adapted, stretches, batch, mode) for batch in batches]
    return Fidelity(**{each.name: torch.cat([getattr(part, each.name) for part in parts]) for each in fields(Fidelity)})


def _of_batch(adapted: AdaptedModel, stretches: Stretches, batch: TokenBatch, mode: Mode) -> Fidelity:
    ids, mask = _kept(adapted, batch)
    embedded = stretches.embed(ids)
    reference = stretches.run(embedded, modes.distilled(len(mode))).sites
    found = stretches.run(embedded, mode).sites
    ratios = [_ratios(h, h_ref, mask) for h, h_ref in zip(found[1:], reference[1:], strict=True)]
    kl = _divergences(stretches, reference[-1][:, :-1], found[-1][:, :-1], adapted.distilled.vocab_size)
    return Fidelity(
        predictions=mask[:, 1:].sum(dim=1),
        kl=(kl * mask[:, 1:]).sum(dim=1),
        nmse=torch.stack([whole for whole, _ in ratios], dim=1),
        nmse_without_sink=torch.stack([each for _, each in ratios], dim=1),
    )


def _ratios(stream: Tensor, reference: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The ratio of sums over a document, and the mean of its tokens' ratios without the first one."""
    error, size = ((each.float().square().sum(dim=-1).cpu()) * mask for each in (stream - reference, reference))
    each = (error / size.clamp(min=torch.finfo().tiny))[:, 1:]
    return error.sum(dim=1) / size.sum(dim=1), each.sum(dim=1) / mask[:, 1:].sum(dim=1)


def _divergences(stretches: Stretches, reference: Tensor, stream: Tensor, vocabulary: int) -> Tensor:
    """KL of each token's prediction [row, position], a few tokens at a time, on the CPU."""
    size = max(1, LARGEST_LOGITS // vocabulary)
    chunks = zip(reference.flatten(0, 1).split(size), stream.flatten(0, 1).split(size), strict=True)
    parts = []
    for expected, found in chunks:
        p, q = (stretches.logits(each).float().log_softmax(dim=-1) for each in (expected, found))
        parts.append((p.exp() * (p - q)).sum(dim=-1).cpu())
    return torch.cat(parts).view(reference.shape[:2])


@torch.no_grad()
def divergences_by_mode(
    adapted: AdaptedModel, batches: Iterable[TokenBatch], chosen: Sequence[Mode]
) -> Float[Tensor, "mode document"]:
    """Return Σ KL(distilled‖mode) over each document's predictions, in nats, as `Fidelity.kl` of each mode has it.

    The distilled model runs once for all of them, and a mode only from its first layer that is not as in that one.
    """
    stretches, own = Stretches(adapted.module), modes.distilled(adapted.n_layers)
    found = []
    for batch in batches:
        ids, mask = _kept(adapted, batch)
        sites = stretches.run(stretches.embed(ids), own).sites
        sums = []
        for mode in chosen:
            start = next((layer for layer, each in enumerate(mode) if each != own[layer]), adapted.n_layers)
            last = stretches.run(sites[start], mode, start).sites[-1]
            kl = _divergences(stretches, sites[-1][:, :-1], last[:, :-1], adapted.distilled.vocab_size)
            sums.append((kl * mask[:, 1:]).sum(dim=1))
        found.append(torch.stack(sums))
    return torch.cat(found, dim=1)


def _kept(adapted: AdaptedModel, batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """Ids and mask of the documents of more than one token."""
    kept = batch.attention_mask.sum(dim=1) > 1
    return batch.input_ids[kept].to(adapted.distilled.device), batch.attention_mask[kept].float()


@dataclass(frozen=True, kw_only=True, eq=False)
class Firings:
    """How often an adapter's latents fire, on the CPU."""

    tokens: Int[Tensor, " document"]
    by_document: Int[Tensor, "document layer"]
    """Firings of any latent."""
    by_latent: Int[Tensor, "layer latent"]
    """Tokens on which each latent fires."""


def firings(adapted: AdaptedModel, batches: Sequence[TokenBatch]) -> Firings:
    """Count where latents fire on these documents, in the adapter's mode; at least one batch."""
    by_latent = torch.zeros(adapted.n_layers, adapted.transcoders.config.n_latents, dtype=torch.long)
    by_document = []
    for batch in batches:
        inputs, real = adapted.mlp_inputs(batch.input_ids, batch.attention_mask), batch.attention_mask.bool()
        counts = []
        for layer, x in enumerate(inputs):
            fires = (adapted.transcoders[layer].encode(x) > 0) & real.to(x.device)[..., None]
            by_latent[layer] += fires.sum(dim=(0, 1)).cpu()
            counts.append(fires.sum(dim=(1, 2)).cpu())
        by_document.append(torch.stack(counts, dim=1))
    tokens = torch.cat([batch.attention_mask.sum(dim=1) for batch in batches])
    return Firings(tokens=tokens, by_document=torch.cat(by_document), by_latent=by_latent)
