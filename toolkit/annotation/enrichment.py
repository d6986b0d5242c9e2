"""Whether reasoning is what one side of the NRN scale is for: categories of labels by third of the scale."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.annotation.evidence import Name
from toolkit.annotation.labels import CATEGORIES, Category
from toolkit.statistics.estimates import Estimate, given_one
from toolkit.statistics.shares import difference_of_shares, wilson
from toolkit.statistics.verdicts import Claim, Margin

REASONING: tuple[Category, ...] = CATEGORIES[:5]
"""The categories of reasoning."""
THIRDS = ("lowest third", "middle third", "highest third")
"""Thirds of the alive latents by NRN: the base model's side, the shared ones, the distilled model's side."""


def thirds_of(nrn: Float[Tensor, " latent"], alive: Bool[Tensor, " latent"]) -> dict[int, str]:
    """Return the third of the NRN scale in which each alive latent is; thirds hold as many latents each."""
    seen = alive.nonzero().squeeze(1)
    order = seen[nrn[seen].argsort(stable=True)].tolist()
    return {latent: THIRDS[3 * place // len(order)] for place, latent in enumerate(order)}


@dataclass(frozen=True, kw_only=True)
class Enrichment:
    """Labels by category in each third of the NRN scale; a third without labels is not among them."""

    counts: Mapping[str, Counter[Category]]

    @classmethod
    def of(cls, labels: Mapping[Name, Category], thirds: Mapping[Name, str]) -> "Enrichment":
        """Count labels of latents by their thirds."""
        counts: dict[str, Counter[Category]] = {}
        for third in THIRDS:
            inside = Counter(category for latent, category in labels.items() if thirds.get(latent) == third)
            if inside:
                counts[third] = inside
        return cls(counts=counts)

    def share(self, third: str, category: Category) -> Estimate:
        """Return the share of a third's labels that are of a category, with Wilson's interval over latents."""
        counts = self.counts[third]
        return given_one(wilson(counts[category], counts.total()))

    @cached_property
    def reasoning(self) -> dict[str, Estimate]:
        """The share of each third's labels that are of any category of reasoning."""
        return {third: given_one(wilson(*self._reasoning(third))) for third in self.counts}

    def claims(self) -> list[Claim]:
        """Return what is claimed where all thirds have labels: the highest third has a larger share of reasoning than
        the lowest, and than the middle one."""
        if len(self.counts) < len(THIRDS):
            return []
        *others, highest = THIRDS
        return [
            Claim(
                name=f"more latents of the {highest} by NRN are of reasoning than of the {other}",
                effect=self.reasoning[highest],
                margins=(
                    Margin(
                        over=f"share in the {other}",
                        difference=given_one(difference_of_shares(self._reasoning(highest), self._reasoning(other))),
                    ),
                ),
                n=self.counts[highest].total() + self.counts[other].total(),
            )
            for other in others
        ]

    def _reasoning(self, third: str) -> tuple[int, int]:
        counts = self.counts[third]
        return sum(counts[category] for category in REASONING), counts.total()
