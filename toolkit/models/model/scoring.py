"""How likely a model finds whole texts."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import next_log_probability
from toolkit.models.model.traced_model import TracedModel
from toolkit.tracking import track

LARGEST_LOGITS = 2**26
BATCH_TOKENS = 8192


def row_losses(model: TracedModel, rows: Sequence[Sequence[int]]) -> Float[Tensor, " row"]:
    """−log p of each row's tokens but the first, in nats, summed; float64 on the CPU.

    Raises `ValueError` for a row longer than the model's context, and for an id that it has no embedding for.
    """
    losses = torch.zeros(len(rows), dtype=torch.float64)
    batches = [*_batches([len(row) for row in rows], min(BATCH_TOKENS, LARGEST_LOGITS // model.vocab_size))]
    for places in track(batches, "batches", "batches"):
        losses[places] = _batch_losses(model, [torch.tensor(rows[place]) for place in places])
    return losses


def _batch_losses(model: TracedModel, rows: list[Tensor]) -> Float[Tensor, " row"]:
    input_ids = pad_sequence(rows, batch_first=True)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    (found,) = measure(model, input_ids, mask, [None], next_log_probability, (input_ids,))
    return -(found.double() * mask[:, 1:]).sum(dim=1)


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Places of rows of like length that make at most `batch_tokens` together, padding included."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place], reverse=True):
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            yield batch
            batch = []
        batch.append(place)
    yield batch
