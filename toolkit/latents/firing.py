"""Counts how often latents fire: on all tokens, on a category's tokens, and where those are predicted."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.latents.categories import Category
from toolkit.latents.choices import Place
from toolkit.leaving_out import TooFewError, measurable

PLACES: tuple[Place, ...] = ("predicting", "token")


class FiringCounts:
    """Counts of firings, summed over batches; a latent's lift for a category is P(fire | category) / P(fire)."""

    def __init__(self, categories: Sequence[Category], n_latents: int) -> None:
        self.categories = tuple(categories)
        self.tokens = 0
        self.fired = torch.zeros(n_latents, dtype=torch.int64)
        self.mass = torch.zeros(n_latents, dtype=torch.float64)
        """Sum of each latent's codes."""
        self.counts: dict[Place, Tensor] = {p: torch.zeros(len(categories), n_latents) for p in PLACES}
        self.n: dict[Place, Tensor] = {p: torch.zeros(len(categories), dtype=torch.int64) for p in PLACES}

    @classmethod
    def joined(cls, parts: Sequence["FiringCounts"]) -> "FiringCounts":
        """Return the counts of several dictionaries' latents on the same tokens, one dictionary after the other."""
        whole = cls(parts[0].categories, sum(len(part.fired) for part in parts))
        assert len({part.tokens for part in parts}) == 1, "all were counted on the same tokens"
        whole.tokens, whole.n = parts[0].tokens, parts[0].n
        whole.fired, whole.mass = (torch.cat([getattr(part, name) for part in parts]) for name in ("fired", "mass"))
        whole.counts = {place: torch.cat([part.counts[place] for part in parts], dim=1) for place in PLACES}
        return whole

    def __repr__(self) -> str:
        """How much was counted of what."""
        names = ", ".join(category.name for category in self.categories)
        return f"FiringCounts: {self.tokens:,} tokens, {len(self.fired):,} latents; categories {names}"

    def add(
        self,
        input_ids: Int[Tensor, "row position"],
        selected: Bool[Tensor, "row position"],
        codes: Float[Tensor, "token latent"],
    ) -> None:
        """Count one batch; `codes` has a line for each selected token, row after row."""
        fires = codes > 0
        input_ids, selected = input_ids.cpu(), selected.cpu()
        self.tokens += len(codes)
        self.fired += fires.sum(dim=0).cpu()
        self.mass += codes.sum(dim=0).cpu()
        for index, category in enumerate(self.categories):
            of_category = torch.isin(input_ids, torch.tensor(category.token_ids, dtype=torch.long)) & selected
            before = torch.zeros_like(of_category)
            before[:, :-1] = of_category[:, 1:]
            places: dict[Place, Tensor] = {"token": of_category, "predicting": before}
            for place, where in places.items():
                here = fires[where[selected].to(codes.device)]
                self.counts[place][index] += here.sum(dim=0).cpu()
                self.n[place][index] += len(here)

    def seen(self) -> tuple[dict[str, int], dict[str, str]]:
        """Return the index of each category whose words were read, and why the others are left out, both by name."""
        numbers = {category.name: index for index, category in enumerate(self.categories)}

        def check(name: str) -> int:
            self.categories[numbers[name]].check_tokens()
            if not self.n["token"][numbers[name]]:
                raise TooFewError(
                    f"{name}: its words are on none of {self.tokens:,} tokens: read more text, or give other words"
                )
            return numbers[name]

        return measurable(numbers, check)

    def rate(self, place: Place) -> Float[Tensor, "category latent"]:
        """Return P(fire | category); 0 for a category without tokens."""
        return self.counts[place] / self.n[place][:, None].clamp(min=1)

    def lift(self, place: Place) -> Float[Tensor, "category latent"]:
        """Return P(fire | category) / P(fire); 0 for a latent that never fired."""
        frequency = self.fired / max(self.tokens, 1)
        return torch.where(frequency > 0, self.rate(place) / frequency.clamp(min=1e-12), 0.0)

    def other_lift(self, place: Place) -> Float[Tensor, "category latent"]:
        """Return for each category the largest lift for another one; −∞ where there is no other."""
        lift = self.lift(place)
        first, second = torch.cat([lift, torch.full_like(lift[:1], -torch.inf)]).topk(2, dim=0).values
        return torch.where(lift == first, second, first)

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything counted so far."""
        return {
            "tokens": torch.tensor(self.tokens),
            "fired": self.fired,
            "mass": self.mass,
            **{f"counts/{place}": counts for place, counts in self.counts.items()},
            **{f"n/{place}": n for place, n in self.n.items()},
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the counts in `state`."""
        self.tokens, self.fired, self.mass = int(state["tokens"]), state["fired"].cpu(), state["mass"].cpu()
        for place in PLACES:
            self.counts[place], self.n[place] = state[f"counts/{place}"].cpu(), state[f"n/{place}"].cpu()


def check_alive(counts: FiringCounts, latents: Sequence[int]) -> None:
    """Raise `TooFewError` where any of `latents` did not fire on the text that was counted."""
    if dead := [latent for latent in latents if counts.fired[latent] == 0]:
        raise TooFewError(
            f"latents {', '.join(map(str, dead))} fired on none of {counts.tokens:,} held-out tokens, dead or rare:"
            " name latents that fire, such as those of classify_latents.py, or read more text"
        )
