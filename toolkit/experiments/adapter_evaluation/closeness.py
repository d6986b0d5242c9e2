"""How near an adapter comes to the distilled model on held-out text, beside what it must beat."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.fidelity import Fidelity, Firings, divergences_by_mode, fidelity, firings
from toolkit.adapters.modes import LayerMode, Mode
from toolkit.dictionaries.transcoders import Adapter
from toolkit.experiments.adapter_evaluation.study import recovered, shuffled_within
from toolkit.harvest.tokens import TokenBatch
from toolkit.statistics.estimates import Estimate, mean, ratio_of_sums
from toolkit.tracking import track

HYBRID, BIASES, SHUFFLED = "hybrid", "decoder biases alone", "decoder rows shuffled"
FIRST, LAST, SINGLE, WITHOUT = "first k", "last k", "single", "single, without its transcoder"


@dataclass(frozen=True, kw_only=True, eq=False)
class Closeness:
    """One adapter on held-out documents."""

    fidelity: Fidelity
    firings: Firings
    l0: Estimate
    """Latents that fire, a token and layer."""
    kl: Estimate
    """KL(distilled‖adapter) in nats a token."""

    @classmethod
    def of(cls, adapted: AdaptedModel, batches: Sequence[TokenBatch]) -> "Closeness":
        """Measure the adapter."""
        near, fired = fidelity(adapted, track(batches, "comparing streams", "batches")), firings(adapted, batches)
        return cls(
            fidelity=near,
            firings=fired,
            l0=_per_token(fired, fired.by_document.sum(dim=1) / adapted.n_layers),
            kl=ratio_of_sums(near.kl, near.predictions),
        )

    @property
    def l0_by_layer(self) -> list[Estimate]:
        """Latents that fire on a token, of each layer."""
        return [_per_token(self.firings, each.double()) for each in self.firings.by_document.unbind(dim=1)]

    @property
    def dead(self) -> list[int]:
        """Latents of each layer that fired on no token."""
        counts: list[int] = (self.firings.by_latent == 0).sum(dim=1).tolist()
        return counts


@dataclass(frozen=True, kw_only=True, eq=False)
class Yardsticks:
    """What the adapter's predictions are set against, on the same documents: KL(distilled‖…) of others."""

    hybrid: Fidelity
    predictions: Float[Tensor, " document"]
    kl: dict[str, Float[Tensor, " document"]]
    """Σ over predictions, by control: the hybrid is what there is to recover."""
    partial: dict[str, Float[Tensor, "step document"]]
    """Likewise where only some layers are replaced. Of first k and last k, step k; of a single layer, that layer."""

    @classmethod
    def of(
        cls, adapted: AdaptedModel, batches: Sequence[TokenBatch], found: Closeness, generator: torch.Generator
    ) -> "Yardsticks":
        """Measure the controls, and the adapter in some of the layers."""
        n = adapted.n_layers
        hybrid = fidelity(adapted, batches, modes.hybrid(n))
        biases = (LayerMode(mlp="base", bias=True),) * n
        shuffled = adapted.with_adapter(shuffled_rows(adapted.transcoders, found.firings, generator))
        (of_biases,) = divergences_by_mode(adapted, batches, [biases])
        (of_shuffled,) = divergences_by_mode(shuffled, batches, [modes.adapter(n)])
        steps = partial_modes(n)
        chosen = [mode for each in steps.values() for mode in each]
        partial = divergences_by_mode(adapted, track(batches, "replacing layers", "batches"), chosen)
        return cls(
            hybrid=hybrid,
            predictions=found.fidelity.predictions,
            kl={HYBRID: hybrid.kl, BIASES: of_biases, SHUFFLED: of_shuffled},
            partial=dict(zip(steps, partial.split([len(each) for each in steps.values()]), strict=True)),
        )

    def per_token(self, sums: Float[Tensor, " document"]) -> Estimate:
        """The mean over predictions, with its interval over documents."""
        return ratio_of_sums(sums, self.predictions)

    def recovered(self, sums: Float[Tensor, " document"]) -> Estimate:
        """The share of the hybrid's KL that is not left."""
        return recovered(-sums, -self.kl[HYBRID], torch.zeros_like(sums), unit="document")


def partial_modes(n_layers: int) -> dict[str, list[Mode]]:
    """The distilled model with the first k, the last k and single layers replaced; k from 0 to all of them."""
    own = modes.distilled(n_layers)
    alone = LayerMode(mlp="base")
    return {
        FIRST: [modes.replaced(n_layers, range(k)) for k in range(n_layers + 1)],
        LAST: [modes.replaced(n_layers, range(n_layers - k, n_layers)) for k in range(n_layers + 1)],
        SINGLE: [modes.replaced(n_layers, [layer]) for layer in range(n_layers)],
        WITHOUT: [(*own[:layer], alone, *own[layer + 1 :]) for layer in range(n_layers)],
    }


def shuffled_rows(adapter: Adapter, fired: Firings, generator: torch.Generator) -> Adapter:
    """The same adapter, but in each layer the decoder rows of latents that fire are dealt out among them anew.

    Latents fire as often, and what they add is as large, but not what belongs to them.
    """
    made = deepcopy(adapter)
    for transcoder, counts in zip(made.transcoders, fired.by_latent, strict=True):
        rows = transcoder.W_dec.data
        rows.copy_(shuffled_within(rows, counts.nonzero()[:, 0].to(rows.device), generator))
    return made


def _per_token(fired: Firings, sums: Float[Tensor, " document"]) -> Estimate:
    return ratio_of_sums(sums, fired.tokens.double())


def nmse(of: Fidelity, *, sink: bool) -> list[Estimate]:
    """The normalised squared error of each layer's output, with its interval over documents."""
    values = of.nmse if sink else of.nmse_without_sink
    return [mean(each) for each in values.unbind(dim=1)]
