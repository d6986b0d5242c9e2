"""Random samples of stretches: of each latent those in which it fires, and of all, to find those where it is silent."""

from collections.abc import Mapping, Sequence
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

    def places(self, latent: int) -> list[int]:
        """Return where the stretches of a latent stand, the weakest first."""
        filled = self._kept.keys[latent].isfinite().nonzero()[:, 0]
        places: list[int] = filled[self._codes[latent, filled].amax(dim=1).argsort(stable=True)].tolist()
        return places

    def of(self, latent: int, places: Sequence[int]) -> list[Stretch]:
        """Return the stretches of a latent that stand at these places."""
        tensors = (self._document, self._parts, self._token_ids, self._codes)
        document, parts, token_ids, codes = (each[latent, list(places)] for each in tensors)
        return _stretches(document, parts, token_ids, codes)


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
        self,
        latent: int,
        neighbours: Int[Tensor, " neighbour"],
        likeness: Float[Tensor, " neighbour"],
        wanted: Mapping[int, int],
        chance: torch.Generator,
    ) -> tuple[list[Stretch], list[Stretch]]:
        """Draw stretches in which a latent is silent: near misses, and others.

        `wanted` says how many are to have which parts; they are fewer where the sample has fewer. About half of them
        are near misses, in which neighbours of the latent fire, each drawn with a chance in proportion to the largest
        code of a neighbour times its `likeness` to the latent. In the others no neighbour of any likeness fires. Where
        one kind is short, the other fills in. Latents are named by their columns.
        """
        strength = (self._largest[:, neighbours] * likeness.clamp(min=0)).amax(dim=1)
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
        return self._of(near), self._of(far)

    def _of(self, places: list[int]) -> list[Stretch]:
        document, parts, token_ids = (each[places] for each in (self._document, self._parts, self._token_ids))
        return _stretches(document, parts, token_ids, torch.zeros(len(places), LONGEST))


def _by_key(key: Float[Tensor, " stretch"], eligible: Bool[Tensor, " stretch"]) -> list[int]:
    """The eligible places, the largest key first."""
    places = eligible.nonzero()[:, 0]
    found: list[int] = places[key[places].argsort(descending=True, stable=True)].tolist()
    return found


def _stretches(
    document: Int[Tensor, " stretch"],
    parts: Int[Tensor, " stretch"],
    token_ids: Int[Tensor, "stretch place"],
    codes: Float[Tensor, "stretch place"],
) -> list[Stretch]:
    lengths = (token_ids != NO_TOKEN).sum(dim=1)
    return [
        Stretch(document=number, parts=bits, token_ids=tuple(ids[:n]), codes=tuple(values[:n]))
        for n, number, bits, ids, values in zip(
            *(each.tolist() for each in (lengths, document, parts, token_ids, codes)), strict=True
        )
    ]
