"""Measures the quality of a crosscoder on held-out activations, in one pass over them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.dictionaries.activation_batches import Activations, batches_of
from toolkit.dictionaries.crosscoder import Crosscoder, check_crosscoder


@dataclass(frozen=True, kw_only=True, repr=False)
class DictionaryMetrics:
    """The results of `evaluate`."""

    tokens: int
    """Tokens evaluated."""
    fve: dict[str, float]
    """Fraction of variance explained of each stream, by name: 1 − Σ‖x − x̂‖² / Σ‖x − mean‖², raw activations."""
    mean: Float[Tensor, "stream d_model"]
    """The mean of raw activations."""
    l0: float
    """Latents firing per token."""
    dead_share: float
    """Share of latents that fired on none of the tokens."""
    firing_counts: Int[Tensor, " latent"]
    """Tokens on which each latent fired."""
    activation_mass: Float[Tensor, " latent"]
    """Sum over tokens of each latent's code: the weights of an activation-weighted mean."""

    def __repr__(self) -> str:
        explained = ", ".join(f"{name} {fve:.4f}" for name, fve in self.fve.items())
        return (
            f"Dictionary metrics on {self.tokens:,} tokens: FVE {explained}\n"
            f"  L0 {self.l0:.2f}; dead: {self.dead_share:.1%} of {len(self.firing_counts):,} latents"
        )


@torch.no_grad()
def evaluate(crosscoder: Crosscoder, activations: Activations) -> DictionaryMetrics:
    """Measure a crosscoder on raw activations [token, stream, d_model], a tensor or batches; sums run in float64.

    Raises `ValueError` for no tokens, and for activations of another shape than the crosscoder's.
    """
    check_crosscoder(crosscoder)
    config, device = crosscoder.config, crosscoder.b_dec.device
    tokens = 0
    error, squares = (torch.zeros(config.n_streams, dtype=torch.float64, device=device) for _ in range(2))
    total = torch.zeros(config.n_streams, config.d_model, dtype=torch.float64, device=device)
    mass = torch.zeros(config.n_latents, dtype=torch.float64, device=device)
    counts = torch.zeros(config.n_latents, dtype=torch.int64, device=device)
    for batch in batches_of(activations):
        x = batch.to(device)
        codes = crosscoder.encode(x)
        tokens += len(x)
        error += (x - crosscoder.decode(codes)).double().square().sum(dim=(0, 2))
        squares += x.double().square().sum(dim=(0, 2))
        total += x.double().sum(dim=0)
        mass += codes.sum(dim=0)
        counts += codes.count_nonzero(dim=0)
    if tokens == 0:
        raise ValueError("no activations to evaluate on; give at least one batch")
    variance = squares - total.square().sum(dim=1) / tokens
    return DictionaryMetrics(
        tokens=tokens,
        fve=dict(zip(config.streams, (1 - error / variance).tolist(), strict=True)),
        mean=(total / tokens).float().cpu(),
        l0=counts.sum().item() / tokens,
        dead_share=(counts == 0).double().mean().item(),
        firing_counts=counts.cpu(),
        activation_mass=mass.float().cpu(),
    )
