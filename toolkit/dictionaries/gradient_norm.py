"""The norm of a step's whole gradient, by which it is clipped."""

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.collectives import Split
from toolkit.dictionaries.partition import Partition
from toolkit.dictionaries.weights import Pass


def gradient_norm(found: Pass, split: Split, partition: Partition) -> Float[Tensor, ""]:
    """Return the norm of all gradients, of all ranks' rows where latents are shared out.

    `row_squares` spare reading the two large ones, but where other ranks or the partition have changed these.
    """
    named = found.gradients.named()
    if found.row_squares is not None and split.ranks.size == 1 and partition.is_empty:
        return (found.row_squares.sum() + _norm(named, "W_enc", "W_dec").square()).sqrt()
    if split.latents.size == 1:
        return _norm(named)
    squared = _norm(named, "b_dec").square()
    split.latents.sum_(squared)
    return (squared + found.gradients.b_dec.square().sum()).sqrt()


def _norm(named: dict[str, Tensor], *left_out: str) -> Tensor:
    return torch.nn.utils.get_total_norm([gradient for name, gradient in named.items() if name not in left_out])
