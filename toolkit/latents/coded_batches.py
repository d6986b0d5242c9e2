"""Batches of ids with the models' activations and the crosscoder's codes on the selected tokens."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.activations import ReadBatch, read_batches
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.models.model_set import ModelSet


@dataclass(frozen=True)
class CodedBatch(ReadBatch):
    """A batch with its activations, and the codes of its selected tokens, row after row."""

    codes: Float[Tensor, "token latent"]


@torch.no_grad()
def coded_batches(
    models: ModelSet, crosscoder: Crosscoder, batches: Iterable[TokenBatch], mask: TokenMask
) -> Iterator[CodedBatch]:
    """Yield each batch with its activations in raw units and its codes, on the crosscoder's device."""
    for read in read_batches(models, batches, mask):
        x = read.activations.to(crosscoder.b_dec)
        yield CodedBatch(read.batch, read.selected, x, crosscoder.encode(x))


def first_tokens(batches: Iterable[CodedBatch], wanted: int) -> Iterator[CodedBatch]:
    """Yield whole batches until they hold at least `wanted` selected tokens."""
    left = wanted
    for batch in batches:
        yield batch
        left -= len(batch.codes)
        if left <= 0:
            return
