"""Which latents stand for a category, and which others to compare them with."""

from bisect import bisect_left
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.latents.firing import FiringCounts, Place

Rule = Literal["lift", "rate", "quantile"]
"""lift: the largest P(fire | category) / P(fire); rate: the largest P(fire | category); quantile: the paper's rule,
counts at or above the (1 − share) quantile among latents that fired on the category."""

LEAST_FIRINGS = 5
"""A lift from fewer firings on the category is left out: it is chance."""
NEAREST = 3


def select_latents(
    counts: FiringCounts,
    category: int,
    *,
    rule: Rule,
    place: Place,
    share: float,
    eligible: Bool[Tensor, " latent"],
) -> Int[Tensor, " chosen"]:
    """Return the top `share` of alive latents for a category, the best first; only eligible ones, so perhaps fewer.

    Source for `quantile`: Baek & Tegmark 2025, section 4.
    Raises `ValueError` for a share outside (0, 1], and where no eligible latent fired on the category.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share} of the latents: must be above 0 and at most 1")
    fired = counts.counts[place][category]
    score = counts.lift(place)[category] if rule == "lift" else fired
    if rule == "quantile":
        kept = eligible & (fired > 0)
        kept &= fired >= fired[fired > 0].float().quantile(1 - share) if (fired > 0).any() else kept
    else:
        kept = eligible & (fired >= LEAST_FIRINGS)
    order = score.argsort(descending=True, stable=True)
    order = order[kept[order]]
    if len(order) == 0:
        name, n = counts.categories[category].name, int(counts.n[place][category])
        raise ValueError(
            f"no eligible latent fired often enough on {name!r}, which has {n} tokens: read more text, or lower"
            " --min-nrn"
        )
    if rule == "quantile":
        return order
    return order[: max(1, round(share * int((counts.fired > 0).sum())))]


def random_latents(
    chosen: Int[Tensor, " chosen"], alive: Bool[Tensor, " latent"], generator: torch.Generator
) -> Int[Tensor, " control"]:
    """As many alive latents that are not among the chosen, at random."""
    pool = _pool(chosen, alive)
    return pool[torch.randperm(len(pool), generator=generator)[: len(chosen)]]


def matched_latents(
    chosen: Int[Tensor, " chosen"],
    alive: Bool[Tensor, " latent"],
    mean_code: Float[Tensor, " latent"],
    generator: torch.Generator,
) -> Int[Tensor, " control"]:
    """For each chosen latent another alive one whose mean code is close: one of the three nearest, at random.

    The strongest choose first, as they have the fewest like them.
    """
    strength = mean_code.tolist()
    pool = sorted((strength[latent], latent) for latent in _pool(chosen, alive).tolist())
    matched: list[int] = []
    for wanted in sorted((strength[latent] for latent in chosen.tolist()), reverse=True):
        if not pool:
            break
        place = bisect_left(pool, (wanted,))
        around = range(max(0, place - NEAREST), min(len(pool), place + NEAREST))
        nearest = sorted(around, key=lambda at, wanted=wanted: abs(pool[at][0] - wanted))[:NEAREST]
        taken = nearest[int(torch.randint(len(nearest), (), generator=generator))]
        matched.append(pool.pop(taken)[1])
    return torch.tensor(matched, dtype=torch.long)


def _pool(chosen: Tensor, alive: Tensor) -> Tensor:
    return (alive & ~torch.isin(torch.arange(len(alive)), chosen)).nonzero()[:, 0]
