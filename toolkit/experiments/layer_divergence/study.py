"""How far apart two models' activations of the same token are, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.statistics.estimates import FEWEST_GROUPS, Estimate, ratio_of_sums
from toolkit.statistics.resampling import resample_counts

MEASURES = ("distance", "relative distance", "cosine")
LEVEL = 0.99

RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What one comparison gave, by layer and measure."""

    mean: Float[Tensor, "layer 3"]
    estimates: Mapping[str, Sequence[Estimate]]
    """By measure: each layer's mean with its 99 % interval, documents being the samples."""
    farthest: Int[Tensor, " 3"]
    """The layer with the largest distance, the largest relative distance, the smallest cosine."""
    farthest_share: Float[Tensor, " 3"]
    """Share of 1,000 resamples of the documents that name that layer; NaN for fewer than 8 documents."""

    @classmethod
    def of(
        cls, sums: Float[Tensor, "document layer 3"], tokens: Float[Tensor, " document"], generator: torch.Generator
    ) -> "Curves":
        """From sums over each document's tokens."""
        by_measure = zip(MEASURES, sums.unbind(dim=2), strict=True)
        mean = sums.sum(dim=0) / tokens.sum()
        return cls(
            mean=mean,
            estimates={
                name: [ratio_of_sums(of_layer, tokens, level=LEVEL) for of_layer in of_measure.unbind(dim=1)]
                for name, of_measure in by_measure
            },
            farthest=farthest_layers(mean),
            farthest_share=farthest_layer_shares(sums, generator),
        )


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


def farthest_layer_shares(sums: Float[Tensor, "document layer 3"], generator: torch.Generator) -> Float[Tensor, " 3"]:
    """Share of 1,000 bootstrap resamples of the documents that name the same `farthest_layers` as all of them do.

    NaN for fewer than 8 documents.
    """
    if len(sums) < FEWEST_GROUPS:
        return torch.full((3,), torch.nan, dtype=torch.float64)
    counts = resample_counts(len(sums), RESAMPLES, generator).to(sums)
    named = farthest_layers(torch.einsum("rd,dlm->rlm", counts, sums))
    return (named == farthest_layers(sums.sum(dim=0))).double().mean(dim=0)
