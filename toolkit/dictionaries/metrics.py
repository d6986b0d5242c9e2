"""Measures the quality of a crosscoder on held-out activations, in one pass over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


def evaluate(crosscoder: Crosscoder, activations: Activations) -> DictionaryMetrics:
    """Measure a crosscoder on raw activations [token, stream, d_model], a tensor or batches; sums run in float64.

    Raises `ValueError` for no tokens, and for activations of another shape than the crosscoder's.
    """
    (found,) = evaluate_each([crosscoder], activations)
    return found


@torch.no_grad()
def evaluate_each(crosscoders: Sequence[Crosscoder], activations: Activations) -> list[DictionaryMetrics]:
    """Measure several crosscoders in one pass over the activations; raises as `evaluate` does."""
    sums = [_Sums(crosscoder) for crosscoder in crosscoders]
    for batch in batches_of(activations):
        for each in sums:
            each.add(batch)
    return [each.metrics() for each in sums]


class _Sums:
    """What one crosscoder's metrics are made of."""

    def __init__(self, crosscoder: Crosscoder) -> None:
        check_crosscoder(crosscoder)
        self.crosscoder, config = crosscoder, crosscoder.config
        kind: dict[str, Any] = {"dtype": torch.float64, "device": crosscoder.b_dec.device}
        self.tokens = 0
        self.error, self.squares = (torch.zeros(config.n_streams, **kind) for _ in range(2))
        self.total = torch.zeros(config.n_streams, config.d_model, **kind)
        self.mass = torch.zeros(config.n_latents, **kind)
        self.counts = torch.zeros(config.n_latents, **kind | {"dtype": torch.int64})

    def add(self, batch: Float[Tensor, "token stream d_model"]) -> None:
        x = batch.to(self.total.device)
        codes = self.crosscoder.encode(x)
        self.tokens += len(x)
        self.error += (x - self.crosscoder.decode(codes)).double().square().sum(dim=(0, 2))
        self.squares += x.double().square().sum(dim=(0, 2))
        self.total += x.double().sum(dim=0)
        self.mass += codes.sum(dim=0)
        self.counts += codes.count_nonzero(dim=0)

    def metrics(self) -> DictionaryMetrics:
        if self.tokens == 0:
            raise ValueError("no activations to evaluate on; give at least one batch")
        variance = self.squares - self.total.square().sum(dim=1) / self.tokens
        fve = (1 - self.error / variance).tolist()
        return DictionaryMetrics(
            tokens=self.tokens,
            fve=dict(zip(self.crosscoder.config.streams, fve, strict=True)),
            mean=(self.total / self.tokens).float().cpu(),
            l0=self.counts.sum().item() / self.tokens,
            dead_share=(self.counts == 0).double().mean().item(),
            firing_counts=self.counts.cpu(),
            activation_mass=self.mass.float().cpu(),
        )
