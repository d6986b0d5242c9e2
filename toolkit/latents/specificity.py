"""Latents that answer to one category and to no other."""

from dataclasses import dataclass

from toolkit.latents.firing import PLACES, FiringCounts, Place
from toolkit.latents.selection import LEAST_FIRINGS

TIMES = 3.0
LEAST_RATE = 0.05


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

    They must fire on at least 5 % of the category's positions and on 5 of them. Categories without any are left out.
    Raises `ValueError` for fewer than two categories.
    """
    if len(counts.categories) < 2:
        raise ValueError("one category alone: a latent is specific to a category among others")
    found = []
    for place in PLACES:
        lift, others, rate = counts.lift(place), counts.other_lift(place), counts.rate(place)
        for index, category in enumerate(counts.categories):
            often = (rate[index] >= LEAST_RATE) & (counts.counts[place][index] >= LEAST_FIRINGS)
            specific = often & (lift[index] >= TIMES * others[index])
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
                    other_lift=float(others[index, best]),
                    rate=float(rate[index, best]),
                )
            )
    return found
