"""Latent scaling: is a latent that looks exclusive to one model absent from the other? (Minder et al. 2025)

A latent's *own* model is the one with the larger decoder row d. Its factor for a target y is the least-squares β of
Σ_t ‖β f_t d − y_t‖². The targets are, for each model m, the error left without the latent, x − x̂ + f d^m, and the
reconstruction x̂. ν is the other model's factor over the own model's: near 0 where the other model lacks the latent,
near 1 where the sparsity penalty has shrunk the row away (seen in the error) or split a shared latent in two (seen in
the reconstruction). All vectors are in units of training, in which the streams of all models have the same mean norm:
in raw units, ν would follow how much larger one model's stream is than the other's.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.activation_batches import Activations, batches_of
from toolkit.dictionaries.crosscoder import Crosscoder, check_crosscoder, training_scale
from toolkit.dictionaries.sparse_codes import SparsePattern, positive_positions
from toolkit.geometry.decoder_norms import rows_by_model

NU_ERROR, NU_RECONSTRUCTION = 0.2, 0.5
"""Below both of these a latent survives as exclusive (Minder et al. 2025, section 3)."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ScalingRatios:
    """Least-squares factors and ν of every latent; NaN for one that never fired."""

    models: tuple[str, ...]
    """Names of the two models."""
    own: Int[Tensor, " latent"]
    """The model whose decoder row is larger in units of training: its place in `models`."""
    beta_error: Float[Tensor, "latent 2"]
    """Factor for each model's error without the latent; the own model's is near 1."""
    beta_reconstruction: Float[Tensor, "latent 2"]
    """Factor for each model's reconstruction."""

    @property
    def nu_error(self) -> Float[Tensor, " latent"]:
        """ν^ε: the other model's factor over the own model's, for errors."""
        return self._other_over_own(self.beta_error)

    @property
    def nu_reconstruction(self) -> Float[Tensor, " latent"]:
        """ν^r: the other model's factor over the own model's, for reconstructions."""
        return self._other_over_own(self.beta_reconstruction)

    @property
    def survives(self) -> Bool[Tensor, " latent"]:
        """Whether both ν are below their thresholds; False for a latent that never fired."""
        return (self.nu_error < NU_ERROR) & (self.nu_reconstruction < NU_RECONSTRUCTION)

    def __repr__(self) -> str:
        known, own = self.nu_error.isfinite(), self.own.tolist()
        alike = ", ".join(f"{own.count(place):,} of {name}" for place, name in enumerate(self.models))
        return (
            f"ScalingRatios of {len(own):,} latents, {int(known.sum()):,} of them fired; larger rows: {alike}\n"
            f"  median ν of errors {self.nu_error[known].median():.3f}; one model's alone: {int(self.survives.sum()):,}"
        )

    def _other_over_own(self, beta: Tensor) -> Tensor:
        own = self.own[:, None]
        return (beta.gather(1, 1 - own) / beta.gather(1, own)).squeeze(1)


class LatentScaling:
    """Sums over batches from which the factors of all latents follow exactly, whatever the batches' order and size.

    With d fixed, β‖d‖² Σf² = Σ f (y · d), so that a latent needs y · d only on the tokens where it fires. Streams of
    several layers count as one long vector a model.
    """

    def __init__(self, crosscoder: Crosscoder, compared: tuple[str, str] | None = None) -> None:
        check_crosscoder(crosscoder)
        models = crosscoder.config.models
        self._models = compared or (models[0], models[-1])
        if len({*self._models} & {*models}) != 2:
            raise ValueError(
                f"latent scaling compares two models, and these are {' and '.join(self._models)}: give two of"
                f" {', '.join(models)}"
            )
        self._places = [models.index(name) for name in self._models]
        self._scale = training_scale(crosscoder)[None, :, None]
        rows, offset = (
            rows_by_model(each * self._scale, len(models))[:, self._places]
            for each in (crosscoder.W_dec, crosscoder.b_dec[None])
        )
        self._own = rows.norm(dim=2).argmax(dim=1)
        self._direction = rows[torch.arange(len(rows), device=rows.device), self._own]
        self._rows, self._offset, self._n_models = rows.flatten(1), offset.flatten(), len(models)
        self._overlap = torch.einsum("lmd,ld->lm", rows.double(), self._direction.double())
        self._squares = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        self._error, self._reconstruction = (torch.zeros_like(self._overlap) for _ in range(2))

    @torch.no_grad()
    def add(self, x: Float[Tensor, "token stream d_model"], codes: Float[Tensor, "token latent"]) -> None:
        """Add one batch of raw activations and the crosscoder's codes for them."""
        x = (x.to(self._rows.device) * self._scale).flatten(1).unflatten(1, (self._n_models, -1))[:, self._places]
        codes = codes.to(self._rows.device)
        flat = positive_positions(codes)
        pattern, values = SparsePattern.from_flat(flat, (len(codes), codes.shape[1])), codes.flatten()[flat]
        decoded = pattern.matrix(values) @ self._rows + self._offset
        error = x.flatten(1) - decoded
        latent = pattern.columns.long()
        self._squares.index_add_(0, latent, values.double().square())
        for target, sums in ((error, self._error), (decoded, self._reconstruction)):
            for model, stream in enumerate(target.unflatten(1, (2, -1)).unbind(1)):
                products = pattern.sampled_product(stream.contiguous(), self._direction)
                sums[:, model].index_add_(0, latent, (values * products).double())

    def ratios(self) -> ScalingRatios:
        """Return the factors for all tokens so far."""
        size = self._squares * self._overlap.gather(1, self._own[:, None]).squeeze(1)
        error = self._error + self._squares[:, None] * self._overlap
        return ScalingRatios(
            models=self._models,
            own=self._own.cpu(),
            beta_error=(error / size[:, None]).float().cpu(),
            beta_reconstruction=(self._reconstruction / size[:, None]).float().cpu(),
        )


def latent_scaling(
    crosscoder: Crosscoder, activations: Activations, *, compared: tuple[str, str] | None = None
) -> ScalingRatios:
    """Return the factors of all latents over raw activations [token, stream, d_model], a tensor or batches.

    `compared` names the two models, by default the first and the last. Raises `ValueError` for models that the
    crosscoder does not have, or one with itself, and activations that are not of its shape.
    """
    scaling = LatentScaling(crosscoder, compared)
    for x in batches_of(activations):
        scaling.add(x, crosscoder.encode(x))
    return scaling.ratios()
