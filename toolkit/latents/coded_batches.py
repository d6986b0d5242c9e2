"""Batches of ids with activations and codes on the selected tokens, of a crosscoder or of an adapter's layers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.mlp_reads import read_mlp_inputs
from toolkit.adapters.modes import Mode
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.activations import ReadBatch, read_batches
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.models.model_set import ModelSet


@dataclass(frozen=True)
class CodedBatch(ReadBatch):
    """A batch with its activations, and the codes of its selected tokens, row after row."""

    codes: Float[Tensor, "token latent"]


Coder = Callable[[Iterable[TokenBatch], TokenMask], Iterator[CodedBatch]]
"""Reads batches of ids and gives codes, one batch after the other: of whichever dictionary, from whichever models."""


@torch.no_grad()
def coded_batches(
    models: ModelSet, crosscoder: Crosscoder, batches: Iterable[TokenBatch], mask: TokenMask
) -> Iterator[CodedBatch]:
    """Yield each batch with its activations in raw units and its codes, on the crosscoder's device."""
    for read in read_batches(models, batches, mask):
        x = read.activations.to(crosscoder.b_dec)
        yield CodedBatch(read.batch, read.selected, x, crosscoder.encode(x))


@torch.no_grad()
def adapter_batches(
    models: AdaptedModel, layers: Sequence[int], mode: Mode | None, batches: Iterable[TokenBatch], mask: TokenMask
) -> Iterator[CodedBatch]:
    """Yield each batch with the inputs of these layers' MLPs, and the codes of their latents, layer after layer.

    Codes are weighted by the norms of decoder rows, f‖W_dec‖: what a latent adds to the stream, so that latents can be
    compared. The mode is the adapter's by default.
    """
    parts = [models.transcoders[layer] for layer in layers]
    norms = [part.W_dec.float().norm(dim=1) for part in parts]
    for read in read_mlp_inputs(models, batches, mask, layers=layers, mode=mode):
        inputs = zip(parts, norms, read.activations.unbind(dim=1), strict=True)
        codes = [part.encode(x.to(part.b_enc.device)).float() * norm for part, norm, x in inputs]
        yield CodedBatch(read.batch, read.selected, read.activations, torch.cat([c.to(codes[0]) for c in codes], dim=1))


def first_tokens(batches: Iterable[CodedBatch], wanted: int) -> Iterator[CodedBatch]:
    """Yield whole batches until they hold at least `wanted` selected tokens."""
    left = wanted
    for batch in batches:
        yield batch
        left -= len(batch.codes)
        if left <= 0:
            return
