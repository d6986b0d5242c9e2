"""Chooses the latents of a category, and control latents to compare them with."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.devices import hold_on_cpu
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
    kept = eligible.cpu() & (fired >= (1 if rule == "quantile" else LEAST_FIRINGS))
    return order[kept[order]]


def select_latents(
    counts: FiringCounts,
    category: int,
    *,
    rule: Rule,
    place: Place,
    shares: Sequence[float],
    eligible: Bool[Tensor, " latent"],
    least_lift: float = 0.0,
) -> dict[float, Int[Tensor, " chosen"]]:
    """Return for each share that share of the alive latents, the category's best first; fewer if fewer are eligible.

    Latents with less than `least_lift` are not eligible, except by the rule `quantile`, which knows no lift.
    Source for `quantile`: Baek & Tegmark 2025, section 4.
    Raises `ValueError` for a share outside (0, 1], `TooFewError` where no eligible latent fired on the category.
    """
    if wrong := [share for share in shares if not 0 < share <= 1]:
        raise ValueError(f"share {wrong[0]} of the latents: must be above 0 and at most 1")
    if rule != "quantile":
        eligible = eligible.cpu() & (counts.lift(place)[category] >= least_lift)
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
            " or least_lift"
        )
    return chosen


def _quantile(values: Tensor, share: float) -> float:
    return float(values.float().quantile(share)) if len(values) else 0.0


def random_latents(
    chosen: Int[Tensor, " chosen"], pool: Bool[Tensor, " latent"], generator: torch.Generator
) -> Int[Tensor, " control"]:
    """Return as many random latents of a pool that are not chosen; raises `TooFewError` where there are fewer."""
    left = others(chosen, pool)
    return left[torch.randperm(len(left), generator=generator)[: len(chosen)]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Likeness:
    """What control latents are to be like the chosen ones in; on the CPU, wherever it was."""

    mean_code: Float[Tensor, " latent"]
    """Mean code at the positions that are measured."""
    nrn: Float[Tensor, " latent"]

    def __post_init__(self) -> None:
        hold_on_cpu(self)

    def matched(
        self, chosen: Int[Tensor, " chosen"], pool: Bool[Tensor, " latent"], generator: torch.Generator
    ) -> Int[Tensor, " control"]:
        """Return for each chosen latent another one of the pool that is like it: a random one of the three closest.

        The distance is the relative difference of mean codes, plus the difference of NRN. Strong latents are matched
        first, as few others are as strong. Raises `TooFewError` where there are too few others.
        """
        left, chosen = others(chosen, pool), chosen.cpu()
        taken = torch.zeros(len(left), dtype=torch.bool)
        matched = []
        for wanted in chosen[self.mean_code[chosen].argsort(descending=True, stable=True)].tolist():
            distance = self._distance(wanted, left).masked_fill(taken, torch.inf)
            nearest = distance.topk(min(NEAREST, int((~taken).sum())), largest=False).indices
            one = nearest[int(torch.randint(len(nearest), (), generator=generator))]
            taken[one] = True
            matched.append(int(left[one]))
        return torch.tensor(matched, dtype=torch.long)

    def _distance(self, wanted: int, left: Tensor) -> Tensor:
        code = self.mean_code[wanted]
        apart = (self.mean_code[left] - code).abs() / code.clamp(min=torch.finfo(code.dtype).tiny)
        return apart.clamp(max=1e9) + (self.nrn[left] - self.nrn[wanted]).abs()

    def match(self, chosen: Int[Tensor, " chosen"], draws: Sequence[Int[Tensor, " control"]]) -> "Match":
        """Return how like the chosen latents those of the draws are, over all draws together."""
        chosen, all_draws = chosen.cpu(), torch.cat([draw.cpu() for draw in draws])
        wanted, found = (float(self.mean_code[each].sum()) for each in (chosen, all_draws))
        return Match(
            code_ratio=found / len(draws) / wanted if wanted else nan,
            nrn_difference=float(self.nrn[all_draws].mean() - self.nrn[chosen].mean()),
        )


LIKE = (0.8, 1.25)
"""Mean codes of latents that count as alike, over those of the chosen ones."""
LIKE_NRN = 0.1
"""Largest difference of the mean NRN of latents that count as alike."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """How like the chosen latents their controls are."""

    code_ratio: float
    """Mean code of the controls over that of the chosen ones; NaN where the chosen ones are silent."""
    nrn_difference: float
    """Mean NRN of the controls less that of the chosen ones."""

    @property
    def alike(self) -> bool:
        """Whether the controls can stand for latents like the chosen ones."""
        return LIKE[0] <= self.code_ratio <= LIKE[1] and abs(self.nrn_difference) <= LIKE_NRN


def others(chosen: Int[Tensor, " chosen"], pool: Bool[Tensor, " latent"]) -> Int[Tensor, " other"]:
    """Return the latents of a pool that are not chosen; raises `TooFewError` where these are fewer than the chosen."""
    left = (pool.cpu() & ~torch.isin(torch.arange(len(pool)), chosen.cpu())).nonzero()[:, 0]
    if len(left) < len(chosen):
        raise TooFewError(
            f"{len(chosen)} latents are chosen, and only {len(left)} other eligible ones are left to control for them:"
            " choose a smaller share, or lower min_nrn"
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
