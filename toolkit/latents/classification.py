"""Whose a latent is, by the norms of its decoder rows, under both conventions of the field.

Only latents that fired are classified: one that never trained keeps the equal rows that it began with.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.activation_batches import Activations
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.metrics import evaluate
from toolkit.geometry.decoder_norms import cosine, norm_difference, nrn, random_pair_cosines, rows_by_model
from toolkit.statistics import Estimate, bootstrap_mean

Tag = Literal["base only", "shared", "distilled only", "between", "dead"]
TAGS: tuple[Tag, ...] = ("base only", "shared", "distilled only", "between", "dead")


@dataclass(frozen=True)
class Cuts:
    """Where a convention cuts a scale on which 0 is the base model's, 0.5 shared and 1 the distilled model's."""

    exclusive: float
    """At most this far from an end, a latent is one model's only."""
    shared: float
    """At most this far from the middle, it is shared; elsewhere it is between."""


NRN_CUTS = Cuts(exclusive=0.3, shared=0.2)
"""On NRN; shared from .3 to .7 (Kissane et al. 2024)."""
NORM_DIFFERENCE_CUTS = Cuts(exclusive=0.1, shared=0.1)
"""On 1 − the norm difference; shared from .4 to .6, one model's only beyond .1 and .9 (Minder et al. 2025)."""


@dataclass(frozen=True, kw_only=True)
class LatentClasses:
    """What decoder norms say of every latent; streams of one model taken together, raw units."""

    nrn: Float[Tensor, " latent"]
    """n_distilled / (n_base + n_distilled) with 1-norms (Baek & Tegmark 2025, section 3)."""
    norm_difference: Float[Tensor, " latent"]
    """½((n_base − n_distilled) / max(n_base, n_distilled) + 1) with 2-norms: 1 is base only, 0 distilled only."""
    cosine: Float[Tensor, " latent"]
    """Between a latent's two decoder rows; NaN where one of them is zero."""
    cosine_null: Float[Tensor, " pair"]
    """The same between rows of different alive latents."""
    alive: Bool[Tensor, " latent"]
    """Which latents fired."""
    mean_nrn: Estimate
    """Over alive latents."""
    mean_nrn_weighted: float
    """Over all, weighted by the sum of each latent's activations."""

    @property
    def rdn(self) -> Float[Tensor, " latent"]:
        """n_distilled / n_base; infinite where the base model's row is zero."""
        return self.nrn / (1 - self.nrn)

    def tags(self, scale: Float[Tensor, " latent"], cuts: Cuts) -> list[Tag]:
        """Tag every latent by its place on `scale`: NRN, or 1 − the norm difference."""
        return [
            _tag(place, cuts) if alive else "dead"
            for place, alive in zip(scale.tolist(), self.alive.tolist(), strict=True)
        ]

    def nrn_tags(self) -> list[Tag]:
        """Tags by NRN."""
        return self.tags(self.nrn, NRN_CUTS)

    def norm_difference_tags(self) -> list[Tag]:
        """Tags by the norm difference."""
        return self.tags(1 - self.norm_difference, NORM_DIFFERENCE_CUTS)


def _tag(place: float, cuts: Cuts) -> Tag:
    if place <= cuts.exclusive:
        return "base only"
    if place >= 1 - cuts.exclusive:
        return "distilled only"
    return "shared" if abs(place - 0.5) <= cuts.shared + 1e-6 else "between"


def classify(crosscoder: Crosscoder, activations: Activations, *, seed: int = 0) -> LatentClasses:
    """Classify every latent of a crosscoder of two models by raw activations [token, stream, d_model].

    Raises ValueError for activations that are not of the crosscoder's shape, and where fewer than two latents fired.
    """
    found = evaluate(crosscoder, activations)
    generator = torch.Generator().manual_seed(seed)
    return classify_rows(crosscoder.W_dec, found.firing_counts, found.activation_mass, generator)


def classify_rows(
    W_dec: Float[Tensor, "latent stream d_model"],
    firing_counts: Int[Tensor, " latent"],
    activation_mass: Float[Tensor, " latent"],
    generator: torch.Generator,
) -> LatentClasses:
    """Classify every latent of a crosscoder of two models, given how often and how strongly each fired.

    Raises ValueError where fewer than two latents fired.
    """
    rows = rows_by_model(W_dec.cpu())
    values, alive, mass = nrn(rows), firing_counts.cpu() > 0, activation_mass.cpu()
    return LatentClasses(
        nrn=values,
        norm_difference=norm_difference(rows),
        cosine=cosine(rows),
        cosine_null=random_pair_cosines(rows[alive], generator=generator),
        alive=alive,
        mean_nrn=bootstrap_mean(values[alive], generator),
        mean_nrn_weighted=float((values * mass).nansum() / mass.sum()),
    )
