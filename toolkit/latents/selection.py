"""Chooses the latents of a category, and control latents to compare them with."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.latents.choices import Place, Rule
from toolkit.latents.firing import PLACES, FiringCounts
from toolkit.leaving_out import TooFewError

LEAST_FIRINGS = 5
"""A latent with fewer firings on the category is not ranked: its lift would be chance."""
NEAREST = 3


def ranked_latents(
    counts: FiringCounts, category: int, *, rule: Rule, place: Place, eligible: Bool[Tensor, " latent"]
) -> Int[Tensor, " ranked"]:
    """Return the eligible latents that fired often enough on a category, the best first; there may be none."""
    fired = counts.counts[place][category]
    score = counts.lift(place)[category] if rule == "lift" else fired
    order = score.argsort(descending=True, stable=True)
    kept = eligible & (fired >= (1 if rule == "quantile" else LEAST_FIRINGS))
    return order[kept[order]]


def select_latents(
    counts: FiringCounts,
    category: int,
    *,
    rule: Rule,
    place: Place,
    shares: Sequence[float],
    eligible: Bool[Tensor, " latent"],
) -> dict[float, Int[Tensor, " chosen"]]:
    """Return for each share that share of the alive latents, the category's best first; fewer if fewer are eligible.

    Source for `quantile`: Baek & Tegmark 2025, section 4.
    Raises `ValueError` for a share outside (0, 1], `TooFewError` where no eligible latent fired on the category.
    """
    if wrong := [share for share in shares if not 0 < share <= 1]:
        raise ValueError(f"share {wrong[0]} of the latents: must be above 0 and at most 1")
    ranked = ranked_latents(counts, category, rule=rule, place=place, eligible=eligible)
    if rule == "quantile":
        fired = counts.counts[place][category]
        chosen = {share: ranked[fired[ranked] >= _quantile(fired[fired > 0], 1 - share)] for share in shares}
    else:
        n_alive = int((counts.fired > 0).sum())
        chosen = {share: ranked[: max(1, round(share * n_alive))] for share in shares}
    if not all(len(latents) for latents in chosen.values()):
        name, n = counts.categories[category].name, int(counts.n[place][category])
        raise TooFewError(
            f"no eligible latent fired often enough on {name!r}, which has {n} tokens: read more text, or lower min_nrn"
        )
    return chosen


def _quantile(values: Tensor, share: float) -> float:
    return float(values.float().quantile(share)) if len(values) else 0.0


def random_latents(
    chosen: Int[Tensor, " chosen"], alive: Bool[Tensor, " latent"], generator: torch.Generator
) -> Int[Tensor, " control"]:
    """Return as many random alive latents that are not chosen; raises `TooFewError` where there are fewer."""
    pool = others(chosen, alive)
    return pool[torch.randperm(len(pool), generator=generator)[: len(chosen)]]


def matched_latents(
    chosen: Int[Tensor, " chosen"],
    alive: Bool[Tensor, " latent"],
    mean_code: Float[Tensor, " latent"],
    generator: torch.Generator,
) -> Int[Tensor, " control"]:
    """Return for each chosen latent another alive one with a close mean code: a random one of the three closest.

    Strong latents are matched first, as few others are as strong. Raises `TooFewError` where there are too few others.
    """
    strength = mean_code.tolist()
    pool = sorted((strength[latent], latent) for latent in others(chosen, alive).tolist())
    matched: list[int] = []
    for wanted in sorted((strength[latent] for latent in chosen.tolist()), reverse=True):
        place = bisect_left(pool, (wanted,))
        around = range(max(0, place - NEAREST), min(len(pool), place + NEAREST))
        nearest = sorted(around, key=lambda at, wanted=wanted: abs(pool[at][0] - wanted))[:NEAREST]
        taken = nearest[int(torch.randint(len(nearest), (), generator=generator))]
        matched.append(pool.pop(taken)[1])
    return torch.tensor(matched, dtype=torch.long)


def others(chosen: Int[Tensor, " chosen"], alive: Bool[Tensor, " latent"]) -> Int[Tensor, " other"]:
    """Return the alive latents that are not chosen; raises `TooFewError` where these are fewer than the chosen."""
    left = (alive & ~torch.isin(torch.arange(len(alive)), chosen)).nonzero()[:, 0]
    if len(left) < len(chosen):
        raise TooFewError(
            f"{len(chosen)} latents are chosen, and only {len(left)} other alive ones are left to control for them:"
            " choose a smaller share"
        )
    return left


TIMES = 3.0
LEAST_RATE = 0.05


@dataclass(frozen=True, kw_only=True)
class SpecificLatent:
    """The specific latent of a category that fires on the largest share of its positions."""

    category: str
    place: Place
    n: int
    """How many specific latents the category has in all."""
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
        raise ValueError("one category alone: specific latents need at least two categories to compare")
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
