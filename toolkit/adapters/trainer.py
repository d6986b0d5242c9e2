"""Trains an adapter: one step on a batch of documents at a time, from the loss to the new weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.configs import AdapterTrainingConfig
from toolkit.adapters.losses import divergences, normalised_errors
from toolkit.adapters.optimisers import load_state, optimisers, state_of
from toolkit.adapters.ordered_sums import ordered_sums
from toolkit.adapters.stretches import Stretches
from toolkit.dictionaries.activation_batches import NonFiniteError
from toolkit.dictionaries.collectives import ALONE, Ranks

FIGURES = ("loss", "KL", "KL of adapter then distilled", "KL of distilled then adapter", "penalty")
"""The names of a step's first figures."""


@dataclass(frozen=True, kw_only=True)
class AdapterStep:
    """The figures of one step."""

    step: int
    """Steps done, with this one."""
    sequences: int
    """Documents seen, with this step's."""
    tokens: int
    """Tokens seen."""
    loss: float
    kl: float
    """KL(distilled‖adapter), nats a token."""
    bridging: tuple[float, float]
    """The same of both models that change over at a random layer: adapter first, distilled first."""
    nmse: tuple[float, ...]
    """Normalised squared error after each layer."""
    penalty: float
    """Σ_layers mean_tokens Σ_i f_i‖W_dec,i‖."""
    l0: tuple[float, ...]
    """Latents that fire, a token, by layer."""
    dead: tuple[int, ...]
    """Latents that have not fired for long, by layer."""
    lr: float
    grad_norm: float


class AdapterTrainer:
    """The adapter's weights, the optimiser's, and how long each latent has been silent.

    A step takes one forward pass of the distilled model, one of the adapter, and from a random layer on one of each
    after the other: about three forward and two backward passes. Of several `ranks` each works on its share of a
    batch's documents; all take the same step, which is that of one process but for the order of sums.
    """

    def __init__(
        self, training: AdapterTrainingConfig, adapted: AdaptedModel, *, seed: int, ranks: Ranks = ALONE
    ) -> None:
        self.training, self.adapted, self._seed, self._ranks = training, adapted, seed, ranks
        self._stretches = Stretches(adapted.module, recompute=training.recompute)
        self._parameters = list(adapted.transcoders.parameters())
        self._optimisers = optimisers(training, adapted.transcoders)
        self.steps_done, self.sequences_seen, self.tokens_seen = 0, 0, 0
        shape = (adapted.n_layers, adapted.transcoders.config.n_latents)
        self._last_fired = torch.zeros(shape, dtype=torch.long)
        """Documents seen when each latent last fired."""

    def step(self, input_ids: Int[Tensor, "row position"], attention_mask: Int[Tensor, "row position"]) -> AdapterStep:
        """Take one step on these documents, padded on the right, and return its figures.

        All ranks are given all documents, at least one for each rank.

        Raises:
            NonFiniteError: gradients are not finite; the weights are as before.
        """
        with ordered_sums(self.training.ordered_sums):
            return self._step(input_ids, attention_mask)

    def _step(self, input_ids: Tensor, attention_mask: Tensor) -> AdapterStep:
        own = self._ranks.share_of(len(input_ids))
        loss, figures, fired = self._losses(input_ids[own], attention_mask[own], attention_mask)
        loss.backward()
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        self._ranks.sum_(*gradients, figures, fired)
        norm = torch.nn.utils.get_total_norm(gradients)
        if not norm.isfinite():
            self._forget_gradients()
            told = ", ".join(f"{name} {value:.4g}" for name, value in zip(FIGURES, figures.tolist(), strict=False))
            raise NonFiniteError(self.steps_done + 1, (f"{told}, norm of the gradients {float(norm):.4g}",), "The step")
        torch.nn.utils.clip_grads_with_norm_(self._parameters, self.training.max_grad_norm, norm)
        rate, tokens = self._move(), int(attention_mask.sum())
        self._count(len(input_ids), tokens, fired.cpu())
        whole, kl, first, second, penalty, _, *nmse = figures.tolist()
        return AdapterStep(
            step=self.steps_done,
            sequences=self.sequences_seen,
            tokens=self.tokens_seen,
            loss=whole,
            kl=kl,
            bridging=(first, second),
            nmse=tuple(nmse),
            penalty=penalty,
            l0=tuple((fired.sum(dim=1) / tokens).tolist()),
            dead=tuple(self._dead().sum(dim=1).tolist()),
            lr=rate,
            grad_norm=float(norm),
        )

    def state_dict(self) -> dict[str, Tensor]:
        """All that decides later steps, by name: weights, the optimiser's memory, and what was seen."""
        seen = torch.tensor([self.steps_done, self.sequences_seen, self.tokens_seen])
        weights = {f"weights/{name}": each.detach() for name, each in self.adapted.transcoders.named_parameters()}
        memory = state_of(self._optimisers, self.adapted.transcoders)
        return weights | memory | {"seen": seen, "last_fired": self._last_fired}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` returned."""
        for name, each in self.adapted.transcoders.named_parameters():
            each.data.copy_(tensors[f"weights/{name}"])
        load_state(self._optimisers, self.adapted.transcoders, tensors)
        self.steps_done, self.sequences_seen, self.tokens_seen = tensors["seen"].tolist()
        self._last_fired = tensors["last_fired"].clone()

    def _losses(self, input_ids: Tensor, attention_mask: Tensor, whole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What this rank's documents add to the loss of the whole batch, whose mask is `whole`.

        Then the same of all `FIGURES`, with the NMSE of each site, and how often each latent of each layer fired.
        """
        training, n_layers, run = self.training, self.adapted.n_layers, self._stretches.run
        as_distilled, as_adapter = modes.distilled(n_layers), modes.adapter(n_layers)
        mask = attention_mask.to(self._stretches.device).float()
        embedded = self._stretches.embed(input_ids)
        with torch.no_grad():
            reference = run(embedded, as_distilled).sites
        adapter, penalties, fired = run(embedded, as_adapter, token_weights=(mask / float(whole.sum())).flatten())
        cutoff = self._cutoff()
        ends = [adapter[-1]]
        if 0 < cutoff < n_layers:  # else both are the adapter, or the distilled model, from end to end
            ends.append(run(adapter[cutoff], as_distilled, cutoff).sites[-1])
            ends.append(run(reference[cutoff], as_adapter, cutoff).sites[-1])
        labelled = mask[:, 1:].flatten() / max(1.0, float(whole[:, 1:].sum()))
        kl, *bridging = self._divergences(reference[-1], ends, labelled)
        if not bridging:
            bridging = [kl, kl.new_zeros(())] if cutoff == n_layers else [kl.new_zeros(()), kl]
        nmse = normalised_errors(adapter, reference, mask) * (len(mask) / len(whole))
        penalty = torch.stack(penalties).sum()
        loss = (
            training.kl_weight * kl
            + training.nmse_weight * nmse.mean()
            + training.bridging_weight * (bridging[0] + bridging[1])
            + training.sparsity_coefficient * penalty
        )
        figures = torch.cat([torch.stack([loss, kl, *bridging, penalty]), nmse]).detach().double()
        return loss, figures, torch.stack([each.to(figures.device) for each in fired])

    def _divergences(self, reference: Tensor, ends: list[Tensor], weights: Tensor) -> tuple[Tensor, ...]:
        """The KL of each of these last streams, summed over tokens that have a next one with their weights."""
        return divergences(
            self._stretches.logits,
            reference[:, :-1].flatten(0, 1),
            [each[:, :-1].flatten(0, 1) for each in ends],
            weights,
            vocabulary=self.adapted.distilled.vocab_size,
        )

    def _cutoff(self) -> int:
        """The layer at which this step's models change over, uniform from 0 to the number of layers."""
        chance = torch.Generator().manual_seed(self._seed * 1_000_003 + self.steps_done)
        return int(torch.randint(self.adapted.n_layers + 1, (), generator=chance))

    def _move(self) -> float:
        """Take the step of the optimisers, and return its learning rate."""
        rate = learning_rate(self.training, self.steps_done)
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
        self._forget_gradients()
        return rate

    def _forget_gradients(self) -> None:
        for each in self._parameters:
            each.grad = None

    def _count(self, sequences: int, tokens: int, fired: Tensor) -> None:
        self.steps_done += 1
        self.sequences_seen += sequences
        self.tokens_seen += tokens
        self._last_fired[fired > 0] = self.sequences_seen

    def _dead(self) -> Tensor:
        return self.sequences_seen - self._last_fired >= self.training.dead_after_sequences


def learning_rate(training: AdapterTrainingConfig, step: int) -> float:
    """Learning rate of `step` (from 0): linear warm-up, then along a cosine to 0 after the last step."""
    rising = max(1, int(training.lr_warmup_share * training.steps))
    if step < rising:
        return training.lr * (step + 1) / rising
    share = (step - rising) / max(1, training.steps - rising)
    return training.lr * 0.5 * (1 + math.cos(math.pi * share))
