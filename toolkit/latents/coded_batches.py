"""Batches of ids with the pair's activations and the crosscoder's codes on the tokens that count."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.masks import TokenMask
from toolkit.harvest.tokens import TokenBatch
from toolkit.models.pair import ModelPair
from toolkit.models.places.one_at_a_time import Rows


@dataclass(frozen=True)
class CodedBatch:
    """One batch; `activations` and `codes` hold a line for each selected token, rows one after the other."""

    input_ids: Int[Tensor, "row position"]
    attention_mask: Int[Tensor, "row position"]
    selected: Bool[Tensor, "row position"]
    activations: Float[Tensor, "token stream d_model"]
    codes: Float[Tensor, "token latent"]


def read_batches(
    pair: ModelPair, batches: Iterable[TokenBatch], mask: TokenMask
) -> Iterator[tuple[TokenBatch, Bool[Tensor, "row position"], Float[Tensor, "token stream d_model"]]]:
    """Each batch, the tokens of it that count, judged by ids, positions and norms, and the pair's activations there.

    Batches may be taken ahead of what was given; the mask stands where the last one given ends.
    """
    asked: deque[tuple[TokenBatch, Tensor, Counter[str]]] = deque()

    def rows() -> Iterator[Rows]:
        for batch in batches:
            tokens, dropped = mask.judge(batch)
            asked.append((batch, tokens, dropped))
            yield batch.input_ids, batch.attention_mask, tokens

    for activations in pair.selected_each(rows()):
        batch, tokens, dropped = asked.popleft()
        mask.counts.update(dropped)
        keep = mask.norms(activations)
        yield batch, tokens.masked_scatter(tokens, keep.cpu()), activations[keep]


@torch.no_grad()
def coded_batches(
    pair: ModelPair, crosscoder: Crosscoder, batches: Iterable[TokenBatch], mask: TokenMask
) -> Iterator[CodedBatch]:
    """Read and encode batch after batch, in raw units, on the crosscoder's device."""
    for batch, selected, activations in read_batches(pair, batches, mask):
        x = activations.to(crosscoder.b_dec)
        yield CodedBatch(batch.input_ids, batch.attention_mask, selected, x, crosscoder.encode(x))


def first_tokens(batches: Iterable[CodedBatch], wanted: int) -> Iterator[CodedBatch]:
    """Whole batches until at least `wanted` tokens were selected."""
    left = wanted
    for batch in batches:
        yield batch
        left -= len(batch.codes)
        if left <= 0:
            return
