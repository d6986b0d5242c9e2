"""Which latents are labelled: at the ends and in the middle of the NRN scale, a category's, at random, or named."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import torch

from toolkit.annotation.enrichment import thirds_of
from toolkit.experiments.latent_annotation import LatentAnnotationConfig
from toolkit.experiments.latent_annotation.dictionaries import Dictionary
from toolkit.latents.firing import FiringCounts
from toolkit.latents.selection import ranked_latents
from toolkit.leaving_out import TooFewError


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Latents by number."""

    why: str
    """How they were chosen."""
    numbers: tuple[int, ...]
    thirds: Mapping[int, str]
    """Third of the NRN scale of each latent that fires; none without an NRN."""


def choose(settings: LatentAnnotationConfig, dictionary: Dictionary, counts: FiringCounts) -> Chosen:
    """Choose the latents that the settings ask for.

    Raises `ValueError` for a latent or a category that does not exist, `TooFewError` where no latent fires.
    """
    alive = counts.fired > 0
    if not alive.any():
        raise TooFewError(f"no latent fired on {counts.tokens:,} tokens: read more --tokens")
    thirds = {} if dictionary.nrn is None else thirds_of(dictionary.nrn, alive)
    why, numbers = _choose(settings, dictionary, counts, thirds)
    return Chosen(why=why, numbers=tuple(dict.fromkeys(numbers)), thirds=thirds)


def _choose(
    settings: LatentAnnotationConfig, dictionary: Dictionary, counts: FiringCounts, thirds: Mapping[int, str]
) -> tuple[str, list[int]]:
    if settings.latents:
        return "named", list(map(dictionary.number, settings.latents))
    if settings.category is not None:
        return f"largest lift on words of {settings.category}", _of_category(settings, counts)
    if not thirds:
        alive = (counts.fired > 0).nonzero().squeeze(1)
        order = torch.randperm(len(alive), generator=torch.Generator().manual_seed(settings.seed))
        return "at random of those that fire", alive[order[: 3 * settings.n]].tolist()
    line = [*thirds]  # by NRN
    n = max(1, min(settings.n, len(line) // 3))  # of fewer than three latents all are chosen
    start = len(line) // 2 - n // 2
    parts = line[:n], line[start : start + n], line[len(line) - n :]
    return "lowest, middle and highest by NRN of those that fire", [*chain.from_iterable(parts)]


def _of_category(settings: LatentAnnotationConfig, counts: FiringCounts) -> list[int]:
    seen, left_out = counts.seen()
    if settings.category in left_out:
        raise TooFewError(left_out[settings.category])
    if settings.category not in seen:
        raise ValueError(f"no category is called {settings.category!r}: choose from {', '.join(seen)}")
    ranked = ranked_latents(counts, seen[settings.category], rule="lift", place="token", eligible=counts.fired > 0)
    if not len(ranked):
        raise TooFewError(
            f"no latent fired often enough on words of {settings.category}: read more --tokens than {counts.tokens:,}"
        )
    return ranked[: settings.n].tolist()
