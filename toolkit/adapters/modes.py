"""What the MLP of each layer of an adapted model computes: base or distilled MLP, with which latents beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Latent = tuple[int, int]
"""A latent of an adapter: layer, index."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerMode:
    """One layer: MLP(x) + Σ_i scale_i f_i(x) W_dec,i + bias · b_dec."""

    mlp: Literal["base", "distilled"]
    """Whose MLP."""
    scale: float | Float[Tensor, " latent"] = 0.0
    """Factor of what latents add: one for all, or one for each; with 0 the transcoder does not run."""
    bias: bool = False
    """Whether the transcoder's decoder bias is added."""


Mode = tuple[LayerMode, ...]
"""One for each layer, from first to last."""
_DISTILLED, _HYBRID = LayerMode(mlp="distilled"), LayerMode(mlp="base")
_ADAPTER = LayerMode(mlp="base", scale=1.0, bias=True)


def distilled(n_layers: int) -> Mode:
    """The distilled model itself."""
    return (_DISTILLED,) * n_layers


def hybrid(n_layers: int) -> Mode:
    """The distilled model with the base model's MLPs, without the adapter."""
    return (_HYBRID,) * n_layers


def adapter(n_layers: int) -> Mode:
    """The distilled model with the base model's MLPs and the adapter."""
    return (_ADAPTER,) * n_layers


def name_of(mode: Mode) -> str:
    """Return distilled, hybrid or adapter for these modes, and "mixed" for any other."""
    for each in (distilled, hybrid, adapter):
        if mode == each(len(mode)):
            return each.__name__
    return "mixed"


def replaced(n_layers: int, layers: Iterable[int]) -> Mode:
    """The distilled model, but for these layers, which have the base model's MLP and the adapter."""
    chosen = set(layers)
    return tuple(_ADAPTER if layer in chosen else _DISTILLED for layer in range(n_layers))


def without(n_layers: int, n_latents: int, latents: Iterable[Latent], scale: float = 0.0) -> Mode:
    """The adapter, with the contributions of these latents times `scale`: by default taken out."""
    scales = [torch.ones(n_latents) for _ in range(n_layers)]
    for layer, latent in latents:
        scales[layer][latent] = scale
    return tuple(LayerMode(mlp="base", scale=each, bias=True) for each in scales)


def with_latents(
    n_layers: int, n_latents: int, latents: Iterable[Latent], *, mlp: Literal["base", "distilled"], scale: float = 1.0
) -> Mode:
    """The hybrid or the distilled model, with these latents' contributions times `scale` added, and no decoder bias."""
    scales: dict[int, Tensor] = {}
    for layer, latent in latents:
        scales.setdefault(layer, torch.zeros(n_latents))[latent] = scale
    return tuple(LayerMode(mlp=mlp, scale=scales.get(layer, 0.0)) for layer in range(n_layers))
