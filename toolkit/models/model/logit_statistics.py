"""Functions that reduce whole logits to a few numbers where the model runs; a job sends them along.

Each sees the logits [row, position, vocab] of the first edit of a call and of one edit, then its operands, which have
one entry a row; what it keeps of a row depends on that row alone. As in `server_side` they name torch alone, and no
type checker may wrap them.
"""

from collections.abc import Callable, Sequence
from typing import no_type_check

import nnsight
import torch

nnsight.register(__name__)

LARGEST = 2**20
"""Numbers of a slice of logits of which log-probabilities are held at once: on a CPU as many as its caches hold."""
LARGEST_ELSEWHERE = 2**24
"""The same on other devices: enough that a pass over a slice takes longer than its start."""
Reduction = Callable[..., torch.Tensor]
"""(logits of the first edit, logits, *operands) to what is kept, [row, ...]."""


@no_type_check
def target_at_end(first, logits, target_ids):
    """Logit, log-probability and rank of each row's target after its last position; [row, 3]."""
    logits, target_ids = logits[:, -1].float(), target_ids[:, None]
    logit = logits.gather(1, target_ids)
    above = (logits > logit).sum(dim=1)
    return torch.stack([logit[:, 0], logit[:, 0] - logits.logsumexp(dim=1), above.float()], dim=1)


@no_type_check
def each_divergence_and_loss(first, logits, input_ids, predicts):
    """KL(first ‖ this) and cross-entropy at each position that predicts, row after row; [prediction, 2] in float64."""
    found, (row, position) = [], predicts.nonzero(as_tuple=True)
    together = max(1, (LARGEST if logits.device.type == "cpu" else LARGEST_ELSEWHERE) // logits.shape[-1])
    for rows, at in zip(row.split(together), position.split(together), strict=True):
        log_q = logits[rows, at].float().log_softmax(dim=-1)
        if logits is first:
            kl = log_q.new_zeros(len(rows))
        else:
            log_p = first[rows, at].float().log_softmax(dim=-1)
            kl = (log_p.exp() * log_p.sub_(log_q)).sum(dim=1)
        found.append(torch.stack([kl, -log_q.gather(1, input_ids[rows, at + 1][:, None])[:, 0]], dim=1).double())
    return torch.cat(found)


@no_type_check
def divergence_and_loss(first, logits, input_ids, predicts):
    """KL(first ‖ this) and cross-entropy, summed over each row's positions that predict; [row, 2] in float64."""
    found = each_divergence_and_loss(first, logits, input_ids, predicts)
    return found.new_zeros(len(predicts), 2).index_add_(0, predicts.nonzero()[:, 0], found)


@no_type_check
def divergence_and_loss_by_kind(first, logits, input_ids, kinds):
    """The same of each kind of prediction, [row, kind, 2]; `kinds` [row, kind, position] are where each is made.

    A position makes a prediction of one kind, or none that counts.
    """
    predicts = kinds.any(dim=1)
    found = each_divergence_and_loss(first, logits, input_ids, predicts)
    row, position = predicts.nonzero(as_tuple=True)
    place = row * kinds.shape[1] + kinds.int().argmax(dim=1)[row, position]
    return found.new_zeros(kinds.shape[0] * kinds.shape[1], 2).index_add_(0, place, found).view(*kinds.shape[:2], 2)


@no_type_check
def next_log_probability(first, logits, input_ids):
    """Log-probability of each token but a row's first; [row, position − 1]."""
    logits = logits[:, :-1]
    of_next = logits.gather(2, input_ids[:, 1:, None])[..., 0].float()
    return of_next - logits.float().logsumexp(dim=-1)


def kept(function: Reduction, positions: int, operands: Sequence[torch.Tensor]) -> tuple[tuple[int, ...], torch.dtype]:
    """Shape and type of what a reduction keeps of a row of that many positions, with these operands.

    Raises `ValueError` for a function that is none of these: a server's answer to it could not be checked.
    """
    kinds = operands[-1].shape[1:2] if operands else ()
    known = {
        target_at_end: ((3,), torch.float32),
        divergence_and_loss: ((2,), torch.float64),
        divergence_and_loss_by_kind: ((*kinds, 2), torch.float64),
        next_log_probability: ((positions - 1,), torch.float32),
    }
    if function not in known:
        names = ", ".join(each.__name__ for each in known)
        raise ValueError(
            f"{getattr(function, '__name__', function)} is no reduction that NDIF can be asked for: {names}"
        )
    return known[function]


@no_type_check
def whole(logits):
    """All of them."""
    return [logits]


@no_type_check
def extremes(logits, vocabulary, tokens):
    """The largest of the first `vocabulary` logits with their ids, and the smallest with theirs."""
    up, down = (logits[:, :vocabulary].topk(tokens, largest=largest) for largest in (True, False))
    return [up.values, up.indices, down.values, down.indices]
