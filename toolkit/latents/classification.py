"""Tells which model a latent belongs to, by the norms of its decoder rows, under both conventions in use.

Only latents that fired are classified: one that never trained keeps the equal rows that it began with. Norms are in raw
units, where the model with the larger stream has the larger rows; in units of training both models' streams have the
same mean norm, and equal rows give an NRN of 0.5.
"""

from collections import Counter
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.activation_batches import Activations
from toolkit.dictionaries.crosscoder import Crosscoder, training_scale
from toolkit.dictionaries.metrics import evaluate
from toolkit.geometry.decoder_norms import cosine, norm_difference, nrn, random_pair_cosines, rows_by_model
from toolkit.statistics.estimates import Estimate, given_one, mean

Tag = str


def tags_of(first: str, last: str) -> tuple[Tag, ...]:
    """Return the tags that a latent of two models may have."""
    return (f"{first} only", "shared", f"{last} only", "between", "dead")


@dataclass(frozen=True)
class Cuts:
    """The limits of a convention on a scale where 0 is base only, 0.5 shared and 1 distilled only."""

    exclusive: float
    """A latent at most this far from an end of the scale belongs to one model only."""
    shared: float
    """A latent at most this far from the middle is shared; a latent in neither range is between."""


NRN_CUTS = Cuts(exclusive=0.3, shared=0.2)
"""On NRN; shared from .3 to .7 (Kissane et al. 2024)."""
NORM_DIFFERENCE_CUTS = Cuts(exclusive=0.1, shared=0.1)
"""On 1 − the norm difference; shared from .4 to .6, one model's only beyond .1 and .9 (Minder et al. 2025)."""


@dataclass(frozen=True, kw_only=True, repr=False)
class LatentClasses:
    """The class of every latent in two models, from decoder norms in raw units over all streams of each model.

    The descriptions of fields call the two models base and distilled.
    """

    models: tuple[str, str] = ("base", "distilled")
    """Names of the two models: an NRN of 0 means the first one only, 1 the second one only."""
    nrn: Float[Tensor, " latent"]
    """n_distilled / (n_base + n_distilled) with 1-norms (Baek & Tegmark 2025, section 3)."""
    nrn_training_units: Float[Tensor, " latent"]
    """The same for rows in units of training; equal to `nrn` where no scales are recorded."""
    neutral: float
    """NRN of a latent whose rows are equal in units of training: (1/s_distilled) / (1/s_base + 1/s_distilled). 0.5
    where no scales are recorded."""
    scales_recorded: bool
    """Whether the crosscoder says by which factors training scaled each model's activations."""
    norm_difference: Float[Tensor, " latent"]
    """½((n_base − n_distilled) / max(n_base, n_distilled) + 1) with 2-norms: 1 is base only, 0 distilled only."""
    cosine: Float[Tensor, " latent"]
    """Cosine similarity of a latent's two decoder rows; NaN where one of them is zero."""
    cosine_null: Float[Tensor, " pair"]
    """Cosine similarity of rows of different alive latents."""
    alive: Bool[Tensor, " latent"]
    """Which latents fired."""
    mean_nrn: Estimate
    """Mean NRN over alive latents; compare it with `neutral`."""
    mean_nrn_training_units: Estimate
    """Mean of `nrn_training_units` over alive latents; compare it with 0.5."""
    mean_nrn_weighted: float
    """Mean NRN over all latents, weighted by the sum of each latent's activations."""

    @property
    def rdn(self) -> Float[Tensor, " latent"]:
        """Return n_distilled / n_base; infinite where the base model's row is zero."""
        return self.nrn / (1 - self.nrn)

    def tags(self, scale: Float[Tensor, " latent"], cuts: Cuts) -> list[Tag]:
        """Tag every latent by its place on `scale`: NRN, or 1 − the norm difference."""
        first_only, shared, last_only, between, dead = tags_of(*self.models)

        def tag(place: float) -> Tag:
            if place <= cuts.exclusive:
                return first_only
            if place >= 1 - cuts.exclusive:
                return last_only
            return shared if abs(place - 0.5) <= cuts.shared + 1e-6 else between

        return [tag(place) if alive else dead for place, alive in zip(scale.tolist(), self.alive.tolist(), strict=True)]

    def nrn_tags(self) -> list[Tag]:
        """Tags by NRN."""
        return self.tags(self.nrn, NRN_CUTS)

    def training_units_tags(self) -> list[Tag]:
        """Tags by NRN in units of training: a pair whose models differ in scale alone has no exclusive latents."""
        return self.tags(self.nrn_training_units, NRN_CUTS)

    def norm_difference_tags(self) -> list[Tag]:
        """Tags by the norm difference."""
        return self.tags(1 - self.norm_difference, NORM_DIFFERENCE_CUTS)

    def __repr__(self) -> str:
        counts = Counter(self.nrn_tags())
        by_tag = ", ".join(f"{counts[tag]:,} {tag}" for tag in tags_of(*self.models))
        return (
            f"{len(self.nrn):,} latents by NRN: {by_tag}\n"
            f"mean NRN {self.mean_nrn}, neutral {self.neutral:.3f}: 0 is {self.models[0]} only, 1 is"
            f" {self.models[1]} only; in training units {self.mean_nrn_training_units.value:.3f}, neutral 0.5"
        )


def classify(
    crosscoder: Crosscoder, activations: Activations, *, compared: tuple[str, str] | None = None, seed: int = 0
) -> LatentClasses:
    """Classify every latent of a crosscoder in two of its models, given raw activations [token, stream, d_model].

    `compared` names the two, by default the first and the last. Raises `ValueError` for activations of another shape
    than the crosscoder's, for models that it does not have, and where fewer than two latents fired.
    """
    found = evaluate(crosscoder, activations)
    generator = torch.Generator().manual_seed(seed)
    return classify_fired(crosscoder, found.firing_counts, found.activation_mass, generator, compared=compared)


def classify_fired(
    crosscoder: Crosscoder,
    firing_counts: Int[Tensor, " latent"],
    activation_mass: Float[Tensor, " latent"],
    generator: torch.Generator,
    *,
    compared: tuple[str, str] | None = None,
) -> LatentClasses:
    """Classify every latent of a crosscoder in two of its models, given how often and how strongly each fired.

    `compared` names the two, by default the first and the last. Raises `ValueError` where fewer than two latents
    fired, for models that it does not have, and for one name given twice.
    """
    models = crosscoder.config.models
    if len(models) < 2:
        raise ValueError(f"latents are classified in two models, and this crosscoder has one, {models[0]}")
    first, last = compared or (models[0], models[-1])
    if first == last or not {first, last} <= set(models):
        raise ValueError(f"{first} and {last} cannot be compared: give two of {', '.join(models)}")

    def of_both(of_streams: Tensor) -> Tensor:
        return rows_by_model(of_streams, len(models))[:, [models.index(first), models.index(last)]]

    scale, W_dec = training_scale(crosscoder)[None, :, None], crosscoder.W_dec
    rows, alive, mass = of_both(W_dec), firing_counts.cpu() > 0, activation_mass.cpu()
    values, in_training = nrn(rows).cpu(), nrn(of_both(W_dec * scale)).cpu()
    null = random_pair_cosines(rows[alive.to(rows.device)], generator=generator)
    return LatentClasses(
        models=(first, last),
        nrn=values,
        nrn_training_units=in_training,
        neutral=nrn(of_both(1 / scale)).item(),
        scales_recorded=bool(crosscoder.config.scale),
        norm_difference=norm_difference(rows).cpu(),
        cosine=cosine(rows).cpu(),
        cosine_null=null.cpu(),
        alive=alive,
        mean_nrn=_mean(values[alive]),
        mean_nrn_training_units=_mean(in_training[alive]),
        mean_nrn_weighted=float((values * mass).nansum() / mass.sum()),
    )


def _mean(values: Float[Tensor, " alive"]) -> Estimate:
    """The mean over latents; its interval knows nothing of other crosscoders."""
    return given_one(mean(values, unit="latent"))
