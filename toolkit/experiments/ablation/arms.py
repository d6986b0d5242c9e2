"""Which latents of a crosscoder are taken out for each category, and with what they are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.ablation import FEW_DRAWS, GIVEN, AblationSettings, share_name
from toolkit.geometry.decoder_norms import nrn, rows_by_model
from toolkit.interventions.ablation import Arm, ReadTargets
from toolkit.latents.firing import FiringCounts
from toolkit.latents.selection import Likeness, Match, others, random_latents, select_latents
from toolkit.leaving_out import check_any, measurable

Chosen = dict[str, Int[Tensor, " chosen"]]
"""A category's latents at each share, by name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dictionary:
    """One crosscoder, and how often its latents fire on the text that chooses them."""

    crosscoder: Crosscoder
    counts: FiringCounts
    settings: AblationSettings

    @property
    def alive(self) -> Bool[Tensor, " latent"]:
        """The latents that fired at all."""
        return self.counts.fired > 0

    @property
    def nrn(self) -> Float[Tensor, " latent"]:
        """Every latent's NRN."""
        return nrn(rows_by_model(self.crosscoder.W_dec.cpu(), len(self.crosscoder.config.models)))

    @property
    def pool(self) -> Bool[Tensor, " latent"]:
        """The latents that may be chosen or drawn at random: of those that are given, any others that are alive."""
        return self.alive if self.settings.latents else self.alive & (self.nrn > self.settings.min_nrn)

    def choose(self, category: str) -> Chosen:
        """Return the category's latents at every share; raises `TooFewError` where there are none."""
        asked = self.settings
        if asked.latents:
            return {GIVEN: torch.tensor(asked.latents)}
        selected = select_latents(
            self.counts,
            [each.name for each in self.counts.categories].index(category),
            rule=asked.select,
            place=asked.place,
            shares=asked.shares,
            eligible=self.pool,
            least_lift=asked.least_lift,
        )
        return {share_name(share): latents for share, latents in selected.items()}

    def arms(self, chosen: Chosen, read: ReadTargets) -> tuple[dict[tuple[str, str], list[Arm]], dict[str, Match]]:
        """Return what is taken out by share and arm, a list of draws each, and how well the matched latents match.

        Shares that choose the same latents have the same draws.
        """
        like = Likeness(mean_code=read.predicting_codes(self.crosscoder).mean(dim=0), nrn=self.nrn)
        generator = torch.Generator().manual_seed(self.settings.seed)
        reference, many = self.settings.reference_name, self.settings.control_draws
        drawn: dict[tuple[int, ...], tuple[dict[str, list[Arm]], Match]] = {}
        for share in sorted(chosen, key=lambda share: share != reference):
            times = many if share == reference else min(FEW_DRAWS, many)
            latents = tuple(chosen[share].tolist())
            drawn[latents] = drawn.get(latents) or self._drawn(chosen[share], like, times, generator)
        of_share = {share: drawn[tuple(latents.tolist())] for share, latents in chosen.items()}
        arms = {(share, arm): each for share, (by_arm, _) in of_share.items() for arm, each in by_arm.items()}
        return arms, {share: match for share, (_, match) in of_share.items()}

    def _drawn(
        self, latents: Tensor, like: Likeness, times: int, generator: torch.Generator
    ) -> tuple[dict[str, list[Arm]], Match]:
        matched = [like.matched(latents, self.alive, generator) for _ in range(times)]
        arms = {
            "chosen": [self.arm(latents)],
            "directions": [self.arm(latents, int(torch.randint(2**31, (), generator=generator))) for _ in range(times)],
            "matched": [self.arm(each) for each in matched],
            "random": [self.arm(random_latents(latents, self.pool, generator)) for _ in range(times)],
        }
        return arms, like.match(latents, matched)

    def arm(self, latents: Int[Tensor, " _"], direction: int | None = None) -> Arm:
        """Return what these latents add, or random vectors as long, as something to take out."""
        return Arm(crosscoder=self.crosscoder, latents=latents, direction=direction)


def choose_for_all(
    dictionaries: Mapping[int, Dictionary], categories: Sequence[str]
) -> tuple[dict[str, dict[int, Chosen]], dict[str, str]]:
    """Return each category's latents in each crosscoder, and why categories or crosscoders are left out, by name.

    A crosscoder without latents for a category takes none out. A category for which all have none is left out, and so
    is one that leaves too few latents to control for its own.
    """
    left_out: dict[str, str] = {}

    def choose(category: str) -> dict[int, Chosen]:
        found, without = measurable(dictionaries, lambda seed: dictionaries[seed].choose(category))
        check_any(found, without)
        for seed, chosen in found.items():
            for latents in chosen.values():
                others(latents, dictionaries[seed].pool)
        none = {share: torch.tensor([], dtype=torch.long) for share in next(iter(found.values()))}
        left_out.update({f"{category}, crosscoder {seed}": f"{why}; its effect is 0" for seed, why in without.items()})
        return {seed: found.get(seed, none) for seed in dictionaries}

    chosen, without = measurable(categories, choose)
    return chosen, left_out | without
