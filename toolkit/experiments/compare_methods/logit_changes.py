"""What distillation changed in the next token's prediction, token by token: it needs two models and no dictionary."""

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.harvest.tokens import TokenBatch
from toolkit.latents.labelled_activations import LabelledActivations
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.model_set import ModelSet
from toolkit.models.text.rows import by_length, padded
from toolkit.tracking import track

RISES = 16
"""Tokens whose probability rose most, of each position; the others count as unchanged."""
DIVERGENCES = ("KL(last ‖ first)", "KL(first ‖ last)", "largest rise", "largest fall")


@torch.no_grad()
def logit_changes(models: ModelSet, labelled: LabelledActivations) -> Float[Tensor, "token change"]:
    """Return at each labelled token four divergences of the models' predictions, and how far each word's rose, sparse.

    The first columns are `DIVERGENCES`: in nats both KLs, and the largest change of any log probability up and down.
    The others are the vocabulary: how far a word's probability rose from the first model to the last, where it is among
    the 16 that rose most.
    """
    found = torch.zeros(len(labelled.position), len(DIVERGENCES) + 2 * RISES)
    keys = zip(labelled.tokens.document.tolist(), labelled.position.tolist(), strict=True)
    place = {key: index for index, key in enumerate(keys)}
    lengths = [len(row) for row in labelled.rows]
    groups = by_length(lengths, max(max(lengths), LARGEST_LOGITS // (2 * models.vocab_size)))
    for group in track(groups, "comparing predictions", "batches"):
        batch = TokenBatch(*padded([labelled.rows[document] for document in group]))
        first, last = (
            model.logits(batch.input_ids, batch.attention_mask)[..., : models.vocab_size].float().log_softmax(dim=-1)
            for model in (models.models[name] for name in (models.names[0], models.names[-1]))
        )
        for row, document in enumerate(group):
            here = [(place[document, p], p) for p in range(lengths[document]) if (document, p) in place]
            if here:
                where, positions = map(list, zip(*here, strict=True))
                found[where] = _changes(first[row, positions], last[row, positions]).cpu()
    return _sparse(found, models.vocab_size)


def _changes(first: Float[Tensor, "token vocab"], last: Float[Tensor, "token vocab"]) -> Float[Tensor, "token number"]:
    """The divergences, then the largest rises of probability, then the words that rose."""
    change, p, q = last - first, last.exp(), first.exp()
    rises = (p - q).topk(RISES, dim=1)
    kl = [(p * change).sum(dim=1), -(q * change).sum(dim=1), change.amax(dim=1), -change.amin(dim=1)]
    return torch.cat([torch.stack(kl, dim=1), rises.values.clamp(min=0), rises.indices.float()], dim=1)


def _sparse(found: Float[Tensor, "token number"], vocabulary: int) -> Float[Tensor, "token change"]:
    n = len(DIVERGENCES)
    dense, rises, words = found.split([n, RISES, RISES], dim=1)
    column = torch.cat([torch.arange(n).expand(len(found), n), words.long() + n], dim=1)
    row = torch.arange(len(found))[:, None].expand_as(column)
    values = torch.cat([dense, rises], dim=1).flatten()
    indices = torch.stack([row.flatten(), column.flatten()])
    return torch.sparse_coo_tensor(
        indices[:, values > 0], values[values > 0], (len(found), vocabulary + n), check_invariants=True
    ).coalesce()
