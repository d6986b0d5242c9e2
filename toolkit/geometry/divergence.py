"""How far apart two models' activations of the same token are, layer by layer."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.statistics import resample_counts

MEASURES = ("distance", "relative distance", "cosine")


def divergence(
    first: Float[Tensor, "*token d_model"], second: Float[Tensor, "*token d_model"]
) -> Float[Tensor, "*token 3"]:
    """‖h_B − h_A‖, the same over ½(‖h_A‖ + ‖h_B‖), and the cosine of h_A and h_B; in this order.

    Two zero vectors have relative distance 0 and, having no direction, cosine 0.
    """
    first, second = first.float(), second.float()
    distance = (second - first).norm(dim=-1)
    size = (first.norm(dim=-1) + second.norm(dim=-1)) / 2
    relative = distance / size.clamp(min=torch.finfo(size.dtype).tiny)
    return torch.stack([distance, relative, torch.cosine_similarity(first, second, dim=-1)], dim=-1)


def farthest_layers(means: Float[Tensor, "*resample layer 3"]) -> Int[Tensor, "*resample 3"]:
    """The layer at which the models differ most by each measure: largest distances, smallest cosine."""
    return (means * torch.tensor([1.0, 1.0, -1.0]).to(means)).argmax(dim=-2)


def farthest_layer_shares(
    sums: Float[Tensor, "document layer 3"], generator: torch.Generator, resamples: int = 1000
) -> Float[Tensor, " 3"]:
    """Share of bootstrap resamples of the documents that name the same `farthest_layers` as all of them do."""
    counts = resample_counts(len(sums), resamples, generator).to(sums)
    named = farthest_layers(torch.einsum("rd,dlm->rlm", counts, sums))
    return (named == farthest_layers(sums.sum(dim=0))).double().mean(dim=0)
