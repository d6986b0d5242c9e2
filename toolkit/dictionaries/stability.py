"""Which latents of a crosscoder another one has too, that was trained on the same stream from other initial weights.

A latent is found again where a latent of the other has almost its decoder rows. Latents have no common order, so each
is compared with all of the other's, and the best match counts. The best of many is never near zero: the control is
the best match among as many random directions that are spread over the space as the other's rows are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from toolkit.dictionaries.crosscoder import Crosscoder, check_crosscoder

PERSISTS = 0.7
"""A latent persists where its best match has at least this cosine."""
LATENTS_AT_ONCE = 2048


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Stability:
    """The result of `stability`, for each latent of the first crosscoder."""

    best: Float[Tensor, " latent"]
    """Largest cosine of the latent's decoder rows, joined over models, with those of any latent of the other."""
    chance: Float[Tensor, " latent"]
    """The same with random directions in place of the other's latents."""

    @property
    def persists(self) -> Bool[Tensor, " latent"]:
        """Which latents the other crosscoder has too."""
        return self.best >= PERSISTS

    def __repr__(self) -> str:
        median, by_chance = float(self.best.median()), float(self.chance.median())
        return (
            f"best match of {len(self.best):,} latents: median cosine {median:.2f}, by chance {by_chance:.2f}\n"
            f"  {self.persists.double().mean():.1%} persist: their best match is at least {PERSISTS:g}"
        )


@torch.no_grad()
def stability(crosscoder: Crosscoder, other: Crosscoder, *, seed: int = 0) -> Stability:
    """Compare each latent of a crosscoder with its best match in another, and with chance, drawn from `seed`.

    Rows are in training units, in which no model's stream is larger than another's. Dead latents are compared as well:
    leave them out of what is told. Raises `ValueError` for crosscoders of other streams, or another width.
    """
    for each in (crosscoder, other):
        check_crosscoder(each)
    ours, theirs = ((each.config.streams, each.config.d_model) for each in (crosscoder, other))
    if ours != theirs:
        raise ValueError(
            f"the crosscoders read other streams ({', '.join(ours[0])} of width {ours[1]}; {', '.join(theirs[0])} of"
            f" width {theirs[1]}): give two that were trained on the same"
        )
    rows = _directions(crosscoder)
    others = _directions(other).to(rows.device)
    return Stability(best=_best(rows, others), chance=_best(rows, _random_directions(others, seed)))


@torch.no_grad()
def stability_of_each(crosscoders: Mapping[int, Crosscoder], *, seed: int) -> dict[int, list[Stability]]:
    """Compare each crosscoder of a run, by its number, with each other one in their order, as `stability` does.

    All read the same streams and are on one device: neither is checked, nor moved. The random directions that stand
    for a crosscoder are drawn once. For one crosscoder the list is empty.
    """
    rows = {number: _directions(crosscoder) for number, crosscoder in crosscoders.items()}
    found: dict[int, list[Stability]] = {number: [] for number in rows}
    for other, others in rows.items() if len(rows) > 1 else ():
        random = _random_directions(others, seed)
        for one in (number for number in rows if number != other):
            found[one].append(Stability(best=_best(rows[one], others), chance=_best(rows[one], random)))
    return found


def _random_directions(rows: Float[Tensor, "latent width"], seed: int) -> Float[Tensor, "latent width"]:
    """As many random mixtures of the rows; their factors, latents by latents, are never all in memory."""
    generator, n = torch.Generator().manual_seed(seed), len(rows)
    mixed = [torch.randn(len(part), n, generator=generator).to(rows) @ rows for part in rows.split(LATENTS_AT_ONCE)]
    return normalize(torch.cat(mixed), dim=1)


def _directions(crosscoder: Crosscoder) -> Float[Tensor, "latent width"]:
    """Each latent's decoder rows in training units, joined, with norm 1."""
    scale = torch.tensor(crosscoder.config.scale or [1.0]).to(crosscoder.W_dec)
    return normalize((crosscoder.W_dec * scale[:, None]).flatten(1), dim=1)


def _best(rows: Float[Tensor, "latent width"], others: Float[Tensor, "other width"]) -> Float[Tensor, " latent"]:
    return torch.cat([(part @ others.T).amax(dim=1) for part in rows.split(LATENTS_AT_ONCE)]).cpu()
