"""How often latents fire in all, on a category's tokens, and where those tokens are predicted."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.latents.categories import Category

Place = Literal["predicting", "token"]
"""On the token itself, or on the one before it, where the model decides for it."""


class FiringCounts:
    """Counts over batches; a latent's lift for a category is P(fire | category) / P(fire)."""

    def __init__(self, categories: Sequence[Category], n_latents: int) -> None:
        self.categories = tuple(categories)
        self.tokens = 0
        self.fired = torch.zeros(n_latents, dtype=torch.int64)
        self.counts: dict[Place, Tensor] = {p: torch.zeros(len(categories), n_latents) for p in _PLACES}
        self.n: dict[Place, Tensor] = {p: torch.zeros(len(categories), dtype=torch.int64) for p in _PLACES}

    def add(
        self,
        input_ids: Int[Tensor, "row position"],
        selected: Bool[Tensor, "row position"],
        codes: Float[Tensor, "token latent"],
    ) -> None:
        """Count one batch; `codes` holds one line for each token that is selected, rows one after the other."""
        fires = (codes > 0).cpu()
        input_ids, selected = input_ids.cpu(), selected.cpu()
        self.tokens += len(fires)
        self.fired += fires.sum(dim=0)
        for index, category in enumerate(self.categories):
            of_category = torch.isin(input_ids, torch.tensor(category.token_ids)) & selected
            before = torch.zeros_like(of_category)
            before[:, :-1] = of_category[:, 1:]
            places: dict[Place, Tensor] = {"token": of_category, "predicting": before}
            for place, where in places.items():
                here = fires[where[selected]]
                self.counts[place][index] += here.sum(dim=0)
                self.n[place][index] += len(here)

    def rate(self, place: Place) -> Float[Tensor, "category latent"]:
        """P(fire | category); 0 for a category without tokens."""
        return self.counts[place] / self.n[place][:, None].clamp(min=1)

    def lift(self, place: Place) -> Float[Tensor, "category latent"]:
        """P(fire | category) / P(fire); 0 for a latent that never fired."""
        frequency = self.fired / max(self.tokens, 1)
        return torch.where(frequency > 0, self.rate(place) / frequency.clamp(min=1e-12), 0.0)


_PLACES: tuple[Place, ...] = ("predicting", "token")
