"""Which groups of latents the crosscoders of other seeds have too: by the model that they belong to, by firing rate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from toolkit.dictionaries.metrics import DictionaryMetrics
from toolkit.dictionaries.stability import Stability
from toolkit.formatting import percent
from toolkit.latents.classification import LatentClasses, tags_of
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.seeds import mean_of_seeds

ALL = "all that fire"
RATES = (0.0, 0.001, 0.01, 0.1, 1.0)
"""Limits between groups of latents, by the share of tokens on which they fire."""

Groups = Mapping[str, Bool[Tensor, " latent"]]


@dataclass(frozen=True, kw_only=True)
class Persistence:
    """How well a group of latents is found again in the crosscoders of other seeds, in the mean over seeds."""

    n: int
    """Latents of the group, in all crosscoders together."""
    best: Estimate
    """Median cosine with the best match."""
    chance: Estimate
    """The same where random directions stand for the other crosscoder's latents."""
    persist: Estimate
    """Share of the latents that persist."""

    def results(self) -> dict[str, Any]:
        """The numbers as `metrics.json` has them."""
        return {
            "n": self.n,
            "best_match": self.best.value,
            "chance": self.chance.value,
            "persist": self.persist.value,
            "persist_interval": [self.persist.low, self.persist.high],
        }


def groups_of(dictionary: DictionaryMetrics, decoders: LatentClasses) -> Iterator[tuple[str, Bool[Tensor, " latent"]]]:
    """Yield groups of a crosscoder's latents by name: all that fire, those of each class, those of like firing rate."""
    yield ALL, decoders.alive
    tags = decoders.nrn_tags()
    for tag in tags_of(*decoders.models)[:-1]:  # all but dead
        yield tag, torch.tensor([each == tag for each in tags])
    rate = dictionary.firing_counts / dictionary.tokens
    for low, high in pairwise(RATES):
        yield f"fire on {percent(low)} to {percent(high)}", (rate > low) & (rate <= high)


def persistence(grouped: Mapping[int, Groups], matched: Mapping[int, Sequence[Stability]]) -> dict[str, Persistence]:
    """Return how well each group persists, given groups and best matches in each other crosscoder, all by seed.

    Groups that are empty in every crosscoder are left out, as are all of one crosscoder, which has no others.
    """
    if len(grouped) == 1:
        return {}
    found = {}
    for name in next(iter(grouped.values())):
        chosen = {seed: groups[name] for seed, groups in grouped.items() if bool(groups[name].any())}
        if chosen:
            found[name] = _persistence(chosen, matched)
    return found


def _persistence(
    chosen: Mapping[int, Bool[Tensor, " latent"]], matched: Mapping[int, Sequence[Stability]]
) -> Persistence:
    def joined(figure: str) -> list[Tensor]:
        """A figure of the chosen latents, in all other crosscoders, by seed."""
        return [torch.cat([getattr(each, figure)[own] for each in matched[seed]]) for seed, own in chosen.items()]

    return Persistence(
        n=sum(int(own.sum()) for own in chosen.values()),
        best=mean_of_seeds([float(each.median()) for each in joined("best")]),
        chance=mean_of_seeds([float(each.median()) for each in joined("chance")]),
        persist=mean_of_seeds([float(each.double().mean()) for each in joined("persists")]),
    )
