"""Reads the inputs of MLPs on batches of ids, as `read_batches` reads residual streams."""

from collections.abc import Iterable, Iterator, Sequence

import torch

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.modes import Mode
from toolkit.harvest.activations import ReadBatch
from toolkit.harvest.tokens import TokenBatch, TokenMask


@torch.no_grad()
def read_mlp_inputs(
    models: AdaptedModel,
    batches: Iterable[TokenBatch],
    mask: TokenMask,
    *,
    layers: Sequence[int],
    mode: Mode | None = None,
) -> Iterator[ReadBatch]:
    """Yield each batch with the inputs of these layers' MLPs, [token, layer, d_model], at its selected tokens.

    Ids and positions alone decide which tokens count: behind its norm, an outlier's input is like any other. The mode
    is the adapter's by default.
    """
    for batch in batches:
        selected = mask.tokens(batch)
        inputs = models.mlp_inputs(batch.input_ids, batch.attention_mask, mode)
        first = inputs[layers[0]].device
        chosen = [inputs[layer][selected.to(inputs[layer].device)].to(first) for layer in layers]
        yield ReadBatch(batch, selected, torch.stack(chosen, dim=1))
