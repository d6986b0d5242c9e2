"""Latents that answer to one category and to no other."""

from dataclasses import dataclass

from toolkit.latents.firing import FiringCounts, Place

TIMES = 3.0
LEAST_RATE = 0.05
PLACES: tuple[Place, ...] = ("predicting", "token")


@dataclass(frozen=True, kw_only=True)
class SpecificLatent:
    """The specific latent of a category that fires on the largest share of its positions."""

    category: str
    place: Place
    n: int
    """Specific latents in all."""
    latent: int
    lift: float
    other_lift: float
    """The largest lift for another category."""
    rate: float
    """P(fire | category)."""


def specific_latents(counts: FiringCounts) -> list[SpecificLatent]:
    """Find, by place and category, latents whose lift is at least 3 times that for any other category.

    They must fire on at least 5 % of the category's positions. Categories without any are left out.
    Raises `ValueError` for fewer than two categories.
    """
    if len(counts.categories) < 2:
        raise ValueError("one category alone: a latent is specific to a category among others")
    found = []
    for place in PLACES:
        lift, rate = counts.lift(place), counts.rate(place)
        for index, category in enumerate(counts.categories):
            others = lift[[i for i in range(len(lift)) if i != index]].amax(dim=0)
            specific = (lift[index] >= TIMES * others) & (rate[index] >= LEAST_RATE)
            if not specific.any():
                continue
            best = int((rate[index] * specific).argmax())
            found.append(
                SpecificLatent(
                    category=category.name,
                    place=place,
                    n=int(specific.sum()),
                    latent=best,
                    lift=float(lift[index, best]),
                    other_lift=float(others[best]),
                    rate=float(rate[index, best]),
                )
            )
    return found
