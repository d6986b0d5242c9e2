"""What it costs a model to go on from another model's stream: cross-entropy in excess of its own, and KL."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import divergence_and_loss_by_kind
from toolkit.models.model.traced_model import TracedModel
from toolkit.stitching.maps import AffineMap
from toolkit.stitching.position_kinds import KINDS, kinds_of
from toolkit.stitching.stitch import Stitch


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
    ce: Float[Tensor, "map document kind"]
    """Cross-entropy of the stitched receiver, less its own."""
    kl: Float[Tensor, "map document kind"]
    """KL(receiver ‖ stitched)."""


@torch.no_grad()
def stitching_excess(
    front: TracedModel,
    rest: TracedModel,
    maps: Sequence[AffineMap],
    documents: Iterable[Predictions],
    *,
    layer: int,
    front_layer: int | None = None,
) -> Excess:
    """Return what each map costs `rest` that goes on at `layer` from the stream of `front` at `front_layer`.

    On each batch the front runs once, for all maps, and the receiver once as it is and once a map: its own logits are
    held for one batch, and the mapped streams of all maps. The map's work is in float32. Raises `ValueError` as
    `Stitch` does, and for documents without a prediction that counts.
    """
    stitches = [Stitch(front, each, layer, front_layer) for each in maps]
    tokens, sums = [], []
    for each in documents:
        ids, mask = each.batch.input_ids, each.batch.attention_mask
        (stream,) = front.residual(ids, mask, layer if front_layer is None else front_layer)
        edits = [None, *(stitch.of_stream(stream, mask) for stitch in stitches)]
        tokens.append(each.kinds.sum(dim=2).double())
        sums.append(measure(rest, ids, mask, edits, divergence_and_loss_by_kind, (ids, each.kinds)))
    n = torch.cat(tokens) if tokens else torch.zeros(0, len(KINDS))
    if not n.any():
        raise ValueError("no prediction was measured: the text has no two ordinary tokens in a row")
    kl, loss = torch.cat(sums, dim=1).cpu().unbind(dim=-1)
    return Excess(tokens=n, loss=loss[0], ce=loss[1:] - loss[0], kl=kl[1:])
