"""Random samples of stretches: of each latent those in which it fires, and of all, to find those where it is silent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.annotation.reservoirs import Reservoir
from toolkit.annotation.stretches import LONGEST, Stretches
from toolkit.latents.windows import NO_TOKEN

FIRING, ANY = 100, 4096
"""How many stretches are kept of each latent, and of the text."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A stretch of a document, with the codes of one latent."""

    document: int
    parts: int
    """A bit for each part of the document that it has tokens of."""
    token_ids: tuple[int, ...]
    codes: tuple[float, ...]


class FiringSample:
    """Of each latent, a random sample of the stretches in which it fires."""

    def __init__(self, n_latents: int) -> None:
        self._kept = Reservoir(n_latents, FIRING)
        self._document = torch.zeros(n_latents, FIRING, dtype=torch.int64)
        self._parts = torch.zeros(n_latents, FIRING, dtype=torch.int64)
        self._token_ids = torch.zeros(n_latents, FIRING, LONGEST, dtype=torch.int32)
        self._codes = torch.zeros(n_latents, FIRING, LONGEST)

    def add(self, stretches: Stretches, keys: Float[Tensor, " stretch"]) -> None:
        """Offer stretches with random keys; the latents are their first columns."""
        fires = stretches.largest[:, : len(self._document)].t() > 0
        line, place, item = self._kept.offer(torch.where(fires, keys, -torch.inf))
        self._document[line, place] = stretches.document[item]
        self._parts[line, place] = stretches.parts[item]
        self._token_ids[line, place] = stretches.token_ids[item]
        self._codes[line, place] = stretches.codes[item, :, line]

    def of(self, latent: int) -> list[Stretch]:
        """Return the stretches of a latent, the weakest first."""
        filled = self._kept.keys[latent].isfinite().nonzero()[:, 0]
        codes = self._codes[latent]
        order = filled[codes[filled].amax(dim=1).argsort(stable=True)]
        return [
            _stretch(
                self._document[latent, place], self._parts[latent, place], self._token_ids[latent, place], codes[place]
            )
            for place in order
        ]


class AnySample:
    """A random sample of all stretches, with the largest code of each column in each."""

    def __init__(self, n_columns: int) -> None:
        self._kept = Reservoir(1, ANY)
        self._document = torch.zeros(ANY, dtype=torch.int64)
        self._parts = torch.full((ANY,), -1, dtype=torch.int64)
        self._token_ids = torch.zeros(ANY, LONGEST, dtype=torch.int32)
        self._largest = torch.zeros(ANY, n_columns)

    def add(self, stretches: Stretches, keys: Float[Tensor, " stretch"]) -> None:
        """Offer stretches with random keys."""
        _, place, item = self._kept.offer(keys[None])
        self._document[place] = stretches.document[item]
        self._parts[place] = stretches.parts[item]
        self._token_ids[place] = stretches.token_ids[item]
        self._largest[place] = stretches.largest[item]

    @property
    def n(self) -> int:
        """How many stretches are in the sample."""
        return int(self._kept.keys.isfinite().sum())

    def silent(
        self, latent: int, closeness: Float[Tensor, " column"], wanted: Mapping[int, int], chance: torch.Generator
    ) -> tuple[list[Stretch], list[Stretch]]:
        """Draw stretches in which a latent is silent: near misses, and others.

        `wanted` says how many are to have which parts; they are fewer where the sample has fewer. About half of them
        are near misses, in which neighbours of the latent fire, each drawn with a chance in proportion to the largest
        code of a neighbour times its `closeness`, which is 0 for a latent that is no neighbour. In the others no
        neighbour fires. Where one kind is short, the other fills in.
        """
        strength = (self._largest * closeness).amax(dim=1)
        # Largest keys log(u) / w are a sample without replacement by weights w (Efraimidis & Spirakis 2006).
        key = torch.rand(ANY, generator=chance).log() / torch.where(strength > 0, strength, 1.0)
        silent = self._largest[:, latent] == 0
        near: list[int] = []
        far: list[int] = []
        for parts, n in sorted(wanted.items()):
            here = silent & (self._parts == parts)
            misses, others = (_by_key(key, here & of_kind) for of_kind in (strength > 0, strength == 0))
            half = (n + len(far) - len(near) + 1) // 2  # what keeps both kinds level
            n_near = max(min(half, n, len(misses)), min(n - len(others), len(misses)), 0)
            near += misses[:n_near]
            far += others[: n - n_near]
        return self._stretches(near), self._stretches(far)

    def _stretches(self, places: Iterable[int]) -> list[Stretch]:
        nothing = torch.zeros(LONGEST)
        return [_stretch(self._document[i], self._parts[i], self._token_ids[i], nothing) for i in places]


def _by_key(key: Float[Tensor, " stretch"], eligible: Bool[Tensor, " stretch"]) -> list[int]:
    """The eligible places, the largest key first."""
    places = eligible.nonzero()[:, 0]
    found: list[int] = places[key[places].argsort(descending=True, stable=True)].tolist()
    return found


def _stretch(
    document: Tensor, parts: Tensor, token_ids: Int[Tensor, " place"], codes: Float[Tensor, " place"]
) -> Stretch:
    inside = token_ids != NO_TOKEN
    return Stretch(
        document=int(document),
        parts=int(parts),
        token_ids=tuple(token_ids[inside].tolist()),
        codes=tuple(codes[inside].tolist()),
    )
