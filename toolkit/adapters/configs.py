"""The settings of an adapter's training, which are checked when they are made."""

from dataclasses import dataclass, field
from typing import Literal

from toolkit.fields import ShortRepr, beside_result
from toolkit.ranges import Count, Positive, PositiveOrNone, ShareBelowOne, check_ranges


@dataclass(frozen=True, kw_only=True, repr=False)
class AdapterTrainingConfig(ShortRepr):
    """How an adapter is trained. Source: Hu et al. 2026, section 3 and appendix A."""

    n_latents: Count = 8192
    """Latents of each layer."""
    sequences: Count = 49_952
    """Documents to train on."""
    batch_sequences: Count = 1
    """Documents of one step."""
    sparsity_coefficient: PositiveOrNone = 0.003
    """Weight λ of the penalty Σ_layers mean_tokens Σ_i f_i‖W_dec,i‖, from the first step on."""
    kl_weight: PositiveOrNone = 1.0
    """Weight of KL(distilled‖adapter), in nats, averaged over tokens."""
    nmse_weight: PositiveOrNone = 1.0
    """Weight of the normalised squared error of the streams, averaged over embeddings and layer outputs."""
    bridging_weight: PositiveOrNone = 1.0
    """Weight of the KL of each of two models that change over at a random layer: from adapter to distilled, and back.
    1 is as published; the released runs took 2."""
    optimiser: Literal["adamw", "muon"] = "adamw"
    """adamw, as published, or muon, which needs fewer steps: it moves all directions of a matrix alike (Jordan et al.
    2024), as far as AdamW would (Liu et al. 2025), which still moves the biases."""
    lr: Positive = 8e-4
    """Highest learning rate, after the warm-up."""
    lr_warmup_share: ShareBelowOne = 0.05
    """Share of the steps over which the learning rate rises; then it falls to 0 along a cosine."""
    max_grad_norm: Positive = 1.0
    """Norm to which larger gradients are cut."""
    dead_after_sequences: Count = 1000
    """Documents without firing after which a latent counts as dead."""
    recompute: bool = field(default=True, metadata=beside_result())
    """Compute each layer again in the backward pass, which takes a third more time and far less memory."""
    ordered_sums: bool = field(default=False, metadata=beside_result(unless=lambda training: training.ordered_sums))
    """Take every sum in one order, so that a run that is resumed on a GPU ends in the same bits, as it does on a CPU.
    The backward pass of attention then takes longer, which was never timed, and so do steps of 8,192 tokens and more:
    a step of 10,000 tokens through one transcoder took 4.7 ms on an H100 in place of 3.3."""

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return -(-self.sequences // self.batch_sequences)
