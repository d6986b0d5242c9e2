"""What was measured: one category with one crosscoder, one crosscoder, and all crosscoders with their estimates."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.formatting import counted
from toolkit.interventions.ablation import Effects
from toolkit.interventions.targets import Targets
from toolkit.latents.categories import Category
from toolkit.latents.firing import FiringCounts
from toolkit.latents.selection import Match
from toolkit.statistics.estimates import GIVEN_ONE, Estimate, over_seeds

CONTROLS = ("directions", "matched", "random")
"""Random vectors as long as what the chosen latents add, latents like them in code and NRN, and eligible latents."""
ARMS = ("chosen", *CONTROLS)


@dataclass(frozen=True, kw_only=True, eq=False)
class CategoryAblation:
    """What one crosscoder's latents of a category do to the category's words."""

    category: Category
    targets: Targets
    latents: dict[str, list[int]]
    """The chosen latents at each share, by name ("2 %"), the best first; none where none could be chosen."""
    draws: dict[tuple[str, str], Effects]
    """By share and arm (`ARMS`), with an axis of draws; of the chosen latents there is one. Controls know the last
    model only."""
    matches: dict[str, Match]
    """How like the chosen latents the matched ones are, by share."""

    def __getitem__(self, share_and_arm: tuple[str, str]) -> Effects:
        """Return the mean over the draws, as in `result["2 %", "chosen"]`.

        Raises `ValueError` for a share or an arm that was not measured.
        """
        if share_and_arm not in self.draws:
            shares, arms = (", ".join(map(repr, dict.fromkeys(each))) for each in zip(*self.draws, strict=True))
            raise ValueError(f"{share_and_arm!r} was not measured: give [share, arm], of {shares} and of {arms}")
        return self.draws[share_and_arm].mean()

    def __repr__(self) -> str:
        share, latents = next(iter(self.latents.items()))
        return (
            f"CategoryAblation of {self.category.name!r} at {', '.join(map(repr, self.latents))}\n"
            f"  {share!r} ({counted(len(latents), 'latent')}), 'chosen': {self[share, 'chosen']!r}"
        )

    def best(self, share: str, arm: str, model: str) -> Float[Tensor, " target"]:
        """Return the changes of the logit in the draw whose mean falls furthest."""
        logit = self.draws[share, arm][model].logit
        return logit[logit.mean(dim=1).argmin()]


@dataclass(frozen=True, kw_only=True, eq=False)
class DictionaryAblation:
    """What one crosscoder's latents do to the words of all categories."""

    categories: dict[str, CategoryAblation]
    off_target: dict[tuple[str, str], Effects]
    """(category whose latents are out, words) at the reference share."""
    counts: FiringCounts
    """Firing on the half of the text that chose the latents."""
    alive: Bool[Tensor, " latent"]
    nrn: Float[Tensor, " latent"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AblationStudy:
    """All crosscoders on the same words. Estimates are means over crosscoders and words.

    A crosscoder that has no latents for a category takes nothing out, and counts with an effect of 0.
    """

    models: tuple[str, ...]
    """Names of the models, in the order of the streams; the last one's probabilities say which words are undecided."""
    seeds: dict[int, DictionaryAblation]
    """By the crosscoder's seed, the run's own first."""
    words: dict[str, Targets]
    """All words that were measured: each category's, then those of none, where they are not too rare."""
    left_out: dict[str, str]
    """Why a category could not be measured, by name; or why one crosscoder has no latents for it."""
    null: "AblationStudy | None" = None
    """The same on the null pair."""
    null_missing: str = ""
    """Why the null pair could not be measured, where there is one."""

    @property
    def own(self) -> DictionaryAblation:
        """What the run's own crosscoder gives."""
        return next(iter(self.seeds.values()))

    @property
    def last(self) -> str:
        """The last model's name: the one that the claims are about."""
        return self.models[-1]

    @property
    def names(self) -> list[str]:
        """The categories that were measured."""
        return list(self.own.categories)

    def arms(self, model: str) -> tuple[str, ...]:
        """The arms that were measured in a model."""
        return ARMS if model == self.last else ARMS[:1]

    def elsewhere(self, name: str) -> list[str]:
        """All words that were measured but the category's own."""
        return [each for each in self.words if each != name]

    def rows(self, of_one: Callable[[DictionaryAblation], Float[Tensor, " target"]]) -> Float[Tensor, "seed target"]:
        """What `of_one` takes of each crosscoder."""
        return torch.stack([of_one(each) for each in self.seeds.values()])

    def estimate(self, rows: Float[Tensor, "seed target"], words: str) -> Estimate:
        """The mean over crosscoders and the words of one category, documents being the groups."""
        return self.given(over_seeds(rows, self.words[words].documents))

    def given(self, estimate: Estimate) -> Estimate:
        """Say of an interval that it knows one crosscoder alone, where that is so."""
        alone = len(self.seeds) == 1 and estimate.low is not None
        return replace(estimate, note=GIVEN_ONE) if alone else estimate

    def effect(self, name: str, share: str, arm: str, model: str, measure: str = "logit") -> Estimate:
        """One arm's effect on the category's own words.

        The draws of a control are in the interval: each crosscoder's mean is over its own, and where there is one
        crosscoder the draws stand in the place of seeds.
        """
        draws = [getattr(each.categories[name].draws[share, arm][model], measure) for each in self.seeds.values()]
        rows = draws[0] if len(draws) == 1 else torch.stack([each.mean(dim=0) for each in draws])
        return self.estimate(rows, name)

    def off_target(self, edited: str, words: str, model: str) -> Estimate:
        """The effect of one category's latents, at the reference share, on other words or on its own."""
        return self.estimate(self.rows(lambda one: one.off_target[edited, words][model].logit), words)


def difference_of_means(
    first: Float[Tensor, "seed first"],
    first_groups: Int[Tensor, " first"],
    second: Float[Tensor, "seed second"],
    second_groups: Int[Tensor, " second"],
) -> Estimate:
    """Return the mean of `first` less that of `second`, paired by seed and by group.

    A group (document) may hold samples of either or of both. Written as one mean over all samples, whose error is that
    of the sum of both means' linear terms (Cochran 1977, chapter 6), so that what a group does to both cancels. There
    is no interval where one of the means has none.
    """
    both = (first.double(), first_groups), (second.double(), second_groups)
    n, means = first.shape[1] + second.shape[1], [values.mean(dim=1, keepdim=True) for values, _ in both]
    from_mean = [(values - mean) * n / values.shape[1] for (values, _), mean in zip(both, means, strict=True)]
    joined = torch.cat([from_mean[0], -from_mean[1]], dim=1) + means[0] - means[1]
    found = over_seeds(joined, torch.cat([first_groups, second_groups]))
    why = next((alone.note for alone in map(over_seeds, *zip(*both, strict=True)) if alone.low is None), "")
    return Estimate(found.value, note=why) if why else found
