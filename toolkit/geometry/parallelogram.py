"""Parallelogram loss of word pairs: how far a→b and c→d are from one and the same step (Baek & Tegmark 2025)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ParallelogramLoss:
    """Mean loss over pairs of pairs, the same with the second words shuffled, and the number of pairs of pairs."""

    loss: float
    shuffled: float
    n: int
    variance_explained: float

    @property
    def ratio(self) -> float:
        """Loss over its shuffled null; below 1, the pairs share a direction."""
        return self.loss / self.shuffled


def principal_components(points: Float[Tensor, "word d_model"], dims: int) -> tuple[Float[Tensor, "word dims"], float]:
    """Centre the points, keep their first `dims` principal components; also the share of variance kept.

    Centring belongs to the definition: a large common offset alone would drive the loss to zero.
    """
    centred = points - points.mean(dim=0)
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    variance = values.square()
    kept = variance[:dims].sum() / variance.sum()
    return left[:, :dims] * values[:dims], float(kept)


def pair_losses(first: Float[Tensor, "pair dims"], second: Float[Tensor, "pair dims"]) -> Float[Tensor, " quadruple"]:
    """‖a − b − c + d‖ / √(‖a‖² + ‖b‖² + ‖c‖² + ‖d‖²) of every two pairs (a, b), (c, d).

    Lies in [0, 2]; about 0.99 for Gaussian noise.
    """
    one, other = torch.triu_indices(len(first), len(first), offset=1)
    step = first - second
    size = first.square().sum(dim=1) + second.square().sum(dim=1)
    return (step[one] - step[other]).norm(dim=1) / (size[one] + size[other]).sqrt()


def parallelogram_loss(
    first: Float[Tensor, "pair d_model"],
    second: Float[Tensor, "pair d_model"],
    *,
    dims: int,
    generator: torch.Generator,
    shuffles: int = 20,
) -> ParallelogramLoss:
    """Loss of the pairs (first[i], second[i]) after PCA over all their words, against shuffled second words.

    Raises ValueError for fewer than two pairs.
    """
    if len(first) < 2:
        raise ValueError(f"{len(first)} word pairs make no parallelogram: give at least two")
    words, variance = principal_components(torch.cat([first, second]), dims)
    a, b = words.split(len(first))
    orders = [torch.randperm(len(b), generator=generator) for _ in range(shuffles)]
    null = torch.stack([pair_losses(a, b[order]).mean() for order in orders]).mean()
    losses = pair_losses(a, b)
    return ParallelogramLoss(
        loss=float(losses.mean()), shuffled=float(null), n=len(losses), variance_explained=variance
    )
