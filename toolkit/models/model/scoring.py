"""How likely a model finds whole texts."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import next_log_probability
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.text.rows import by_length, padded
from toolkit.tracking import track

LARGEST_LOGITS = 2**26
"""Logits of one pass; a batch with more goes through in parts. Of a model with 152k ids these are 440 tokens."""
BATCH_TOKENS = 8192


def row_losses(model: TracedModel, rows: Sequence[Sequence[int]]) -> Float[Tensor, " row"]:
    """−log p of each row's tokens but the first, in nats, summed; float64 on the CPU.

    Raises `ValueError` for a row longer than the model's context, and for an id that it has no embedding for.
    """
    losses = torch.zeros(len(rows), dtype=torch.float64)
    batches = by_length([len(row) for row in rows], min(BATCH_TOKENS, LARGEST_LOGITS // model.vocab_size))
    for places in track(batches, "batches", "batches"):
        losses[places] = _batch_losses(model, [rows[place] for place in places])
    return losses


def _batch_losses(model: TracedModel, rows: Sequence[Sequence[int]]) -> Float[Tensor, " row"]:
    input_ids, mask = padded(rows)
    (found,) = measure(model, input_ids, mask, [None], next_log_probability, (input_ids,))
    return -(found.double() * mask[:, 1:]).sum(dim=1)
