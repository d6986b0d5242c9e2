"""Holds out documents so that every class stands in both parts."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from toolkit.formatting import counted
from toolkit.leaving_out import TooFewError

SHARE = 4
"""One document in four is held out."""


def held_out(
    y: Int[Tensor, " token"], documents: Int[Tensor, " token"], classes: tuple[str, ...], seed: int
) -> Bool[Tensor, " token"]:
    """Return which tokens are in documents that are held out: of each class's documents a quarter, one at least.

    Documents are drawn class by class, that of the fewest documents first. Raises `TooFewError` for a class whose
    documents cannot be in both parts.
    """
    y, documents = y.cpu(), documents.cpu()
    names, document = documents.unique(return_inverse=True)
    has = torch.zeros(len(classes), len(names), dtype=torch.bool)
    has[y, document] = True
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    out = torch.zeros(len(names), dtype=torch.bool)
    for of_class in has[has.sum(dim=1).argsort()]:
        wanted = -(-int(of_class.sum()) // SHARE) - int((of_class & out).sum())
        free = order[(of_class & ~out)[order]]
        out[free[: max(wanted, 0)]] = True
    for name, of_class in zip(classes, has, strict=True):
        if not ((of_class & out).any() and (of_class & ~out).any()):
            raise TooFewError(
                f"class {name!r} stands in {counted(int(of_class.sum()), 'document')}, too few to choose a probe's"
                " penalty on documents that are held out: read more documents"
            )
    return out[document]
