"""What it costs a model to go on from another model's stream: cross-entropy in excess of its own, and KL."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.models.model.edits import Edit
from toolkit.models.model.layers import check_layers
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import divergence_and_loss_by_kind
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.ndif.server_side import replacement
from toolkit.stitching.position_kinds import KINDS, kinds_of
from toolkit.stitching.stitch import Stitch
from toolkit.tracking import track


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """A batch of documents, one a row, and the kind of what is predicted at each of its positions."""

    batch: TokenBatch
    kinds: Bool[Tensor, "row kind position"]
    """By the position that predicts, of which each row has one less than of tokens."""

    @classmethod
    def of(
        cls, batch: TokenBatch, mask: TokenMask, pieces: Sequence[str], hesitation: Collection[int]
    ) -> "Predictions":
        """Take the predictions from tokens that `mask` keeps; `pieces` and `hesitation` are as in `kinds_of`.

        By the usual mask a first token's prediction does not count, and is stitched all the same.
        """
        predicted = kinds_of(batch.input_ids, pieces, hesitation)[:, 1:, None] == torch.arange(len(KINDS))
        counted = mask.tokens(batch)[:, :-1] & batch.attention_mask[:, 1:].bool()
        return cls(batch=batch, kinds=(predicted & counted[..., None]).transpose(1, 2))


@dataclass(frozen=True, kw_only=True, eq=False)
class Excess:
    """Sums over each document's predictions of each kind; the kinds are those of `position_kinds.KINDS`."""

    tokens: Float[Tensor, "document kind"]
    """How many predictions."""
    loss: Float[Tensor, "document kind"]
    """Cross-entropy of the receiver as it is, in nats."""
    ce: Float[Tensor, "stitch document kind"]
    """Cross-entropy of the stitched receiver, less its own."""
    kl: Float[Tensor, "stitch document kind"]
    """KL(receiver ‖ stitched)."""


@torch.no_grad()
def stitching_excess(rest: TracedModel, stitches: Sequence[Stitch], documents: Sequence[Predictions]) -> Excess:
    """Return what each stitch costs the receiver.

    On each batch every front runs once, up to the last of its layers that a stitch takes, the receiver once as it is,
    and its layers from the cut on once a stitch. The receiver's own logits of a batch are held, and all mapped streams.
    Raises `ValueError` for documents without a prediction that counts, and for a cut that the receiver does not have.
    """
    check_layers([each.layer for each in stitches], rest.n_layers)
    sums = []
    for each in track(documents, "stitching", "batches", total=len(documents)):
        ids, mask = each.batch.input_ids, each.batch.attention_mask
        edits = [None, *_edits(stitches, ids, mask)]
        sums.append(measure(rest, ids, mask, edits, divergence_and_loss_by_kind, (ids, each.kinds)))
    tokens = torch.cat([torch.zeros(0, len(KINDS)), *(each.kinds.sum(dim=2) for each in documents)]).double()
    if not tokens.any():
        raise ValueError("no prediction was measured: the text has no two ordinary tokens in a row")
    kl, loss = torch.cat(sums, dim=1).unbind(dim=-1)
    return Excess(tokens=tokens, loss=loss[0], ce=loss[1:] - loss[0], kl=kl[1:])


def _edits(stitches: Sequence[Stitch], input_ids: Tensor, attention_mask: Tensor) -> list[Edit]:
    """Edits that replace the whole stream, padding too, so that the layers before it need not run."""
    layers: dict[TracedModel, set[int]] = {}
    for each in stitches:
        layers.setdefault(each.front, set()).add(each.front_layer)
    streams = {
        (front, layer): stream
        for front, wanted in layers.items()
        for layer, stream in zip(sorted(wanted), front.residual(input_ids, attention_mask, sorted(wanted)), strict=True)
    }
    return [
        Edit(
            layer=each.layer,
            function=replacement,
            operands=(each.mapped(streams[each.front, each.front_layer], attention_mask),),
        )
        for each in stitches
    ]
