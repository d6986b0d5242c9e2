"""Trains an adapter: one step on a batch of documents at a time, from the loss to the new weights."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.configs import AdapterTrainingConfig
from toolkit.adapters.losses import divergences, normalised_errors
from toolkit.adapters.stretches import Stretches


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
    after the other: about three forward and two backward passes.
    """

    def __init__(self, training: AdapterTrainingConfig, adapted: AdaptedModel, *, seed: int) -> None:
        self.training, self.adapted, self._seed = training, adapted, seed
        self._stretches = Stretches(adapted.module, recompute=training.recompute)
        self._parameters = list(adapted.transcoders.parameters())
        self._optimiser = torch.optim.AdamW(self._parameters, lr=training.lr, weight_decay=0.0, fused=True)
        self.steps_done, self.sequences_seen, self.tokens_seen = 0, 0, 0
        shape = (adapted.n_layers, adapted.transcoders.config.n_latents)
        self._last_fired = torch.zeros(shape, dtype=torch.long)
        """Documents seen when each latent last fired."""

    def step(self, input_ids: Int[Tensor, "row position"], attention_mask: Int[Tensor, "row position"]) -> AdapterStep:
        """Take one step on these documents, padded on the right, and return its figures."""
        training, n_layers, run = self.training, self.adapted.n_layers, self._stretches.run
        as_distilled, as_adapter = modes.distilled(n_layers), modes.adapter(n_layers)
        mask = attention_mask.to(self._stretches.device).float()
        embedded = self._stretches.embed(input_ids)
        with torch.no_grad():
            reference = run(embedded, as_distilled).sites
        adapter, penalties, fired = run(embedded, as_adapter, token_weights=(mask / mask.sum()).flatten())
        cutoff = self._cutoff()
        ends = [adapter[-1]]
        if 0 < cutoff < n_layers:  # else both are the adapter, or the distilled model, from end to end
            ends.append(run(adapter[cutoff], as_distilled, cutoff).sites[-1])
            ends.append(run(reference[cutoff], as_adapter, cutoff).sites[-1])
        kl, *bridging = self._divergences(reference[-1], ends, mask)
        if not bridging:
            bridging = [kl, kl.new_zeros(())] if cutoff == n_layers else [kl.new_zeros(()), kl]
        nmse = normalised_errors(adapter, reference, mask)
        penalty = torch.stack(penalties).sum()
        loss = (
            training.kl_weight * kl
            + training.nmse_weight * nmse.mean()
            + training.bridging_weight * (bridging[0] + bridging[1])
            + training.sparsity_coefficient * penalty
        )
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, training.max_grad_norm, error_if_nonfinite=True)
        rate = self._take_rate()
        self._optimiser.step()
        self._optimiser.zero_grad()
        figures = torch.stack([loss.detach(), kl, *bridging, penalty, norm, *nmse[1:]]).tolist()
        counts = torch.stack(fired).cpu()  # with the line above all that a GPU is waited for
        self._count(attention_mask, counts)
        return AdapterStep(
            step=self.steps_done,
            sequences=self.sequences_seen,
            tokens=self.tokens_seen,
            loss=figures[0],
            kl=figures[1],
            bridging=(figures[2], figures[3]),
            nmse=tuple(figures[6:]),
            penalty=figures[4],
            l0=tuple((counts.sum(dim=1) / attention_mask.sum().item()).tolist()),
            dead=tuple(self._dead().sum(dim=1).tolist()),
            lr=rate,
            grad_norm=figures[5],
        )

    def _divergences(self, reference: Tensor, ends: list[Tensor], mask: Tensor) -> tuple[Tensor, ...]:
        """The KL of each of these last streams, averaged over tokens that have a next one."""
        labelled = mask[:, 1:].flatten()
        return divergences(
            self._stretches.logits,
            reference[:, :-1].flatten(0, 1),
            [each[:, :-1].flatten(0, 1) for each in ends],
            labelled / labelled.sum(),
            vocabulary=self.adapted.distilled.vocab_size,
        )

    def _cutoff(self) -> int:
        """The layer at which this step's models change over, uniform from 0 to the number of layers."""
        chance = torch.Generator().manual_seed(self._seed * 1_000_003 + self.steps_done)
        return int(torch.randint(self.adapted.n_layers + 1, (), generator=chance))

    def _take_rate(self) -> float:
        training = self.training
        rate = learning_rate(training, self.steps_done)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        return rate

    def _count(self, mask: Tensor, fired: Tensor) -> None:
        self.steps_done += 1
        self.sequences_seen += len(mask)
        self.tokens_seen += int(mask.sum())
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
