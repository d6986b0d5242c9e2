"""Batches of ids with the pair's activations and the crosscoder's codes on the tokens that count."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.masks import TokenMask
from toolkit.harvest.tokens import TokenBatch
from toolkit.models.pair import ModelPair


@dataclass(frozen=True)
class CodedBatch:
    """One batch; `activations` and `codes` hold a line for each selected token, rows one after the other."""

    input_ids: Int[Tensor, "row position"]
    attention_mask: Int[Tensor, "row position"]
    selected: Bool[Tensor, "row position"]
    activations: Float[Tensor, "token stream d_model"]
    codes: Float[Tensor, "token latent"]


@torch.no_grad()
def coded_batch(pair: ModelPair, crosscoder: Crosscoder, batch: TokenBatch, mask: TokenMask) -> CodedBatch:
    """Read and encode one batch, in raw units, on the crosscoder's device."""
    residual = pair.residual(batch.input_ids, batch.attention_mask)
    selected = mask.select(batch, residual)
    x = residual[selected].to(crosscoder.b_dec)
    return CodedBatch(batch.input_ids, batch.attention_mask, selected.cpu(), x, crosscoder.encode(x))


def coded_batches(
    pair: ModelPair, crosscoder: Crosscoder, batches: Iterable[TokenBatch], mask: TokenMask
) -> Iterator[CodedBatch]:
    """Read and encode batch after batch."""
    return (coded_batch(pair, crosscoder, batch, mask) for batch in batches)


def first_tokens(batches: Iterable[CodedBatch], wanted: int) -> Iterator[CodedBatch]:
    """Whole batches until at least `wanted` tokens were selected."""
    left = wanted
    for batch in batches:
        yield batch
        left -= len(batch.codes)
        if left <= 0:
            return
