"""The settings of a crosscoder and of its training: two frozen dataclasses, which are checked when they are made."""

from dataclasses import dataclass, field
from typing import Literal

from toolkit.dictionaries.rules import RULES, Sparsity, check_rule
from toolkit.fields import ShortRepr, beside_result
from toolkit.models.streams import stream_names
from toolkit.ranges import Count, CountOrNone, Positive, PositiveOrNone, Share, ShareBelowOne, check_ranges

Precision = Literal["auto", "fp32", "tf32", "bf16"]
"""How precisely the large matrix products of training are computed."""
Kernels = Literal["auto", "torch", "ordered", "triton"]
"""What computes the products of the codes that fire, in batchtopk and topk."""


@dataclass(frozen=True, kw_only=True)
class CrosscoderConfig:
    """Shape, sparsity rule and origin of one crosscoder: everything that its tensors do not record."""

    d_model: Count
    """Width of one residual stream."""
    models: tuple[str, ...]
    """Names of the models in the order of the stream axis, e.g. base, distilled. One name makes an SAE."""
    layers: tuple[int, ...]
    """Layers whose residual stream inputs are read; streams are base@10, base@14, distilled@10, ...; negative where
    another library's checkpoint does not say."""
    n_latents: Count
    """Number of latents."""
    sparsity: Sparsity
    """Rule that decides which latents fire."""
    k: Count
    """Latents kept per token by topk, and on average by batchtopk; the other rules ignore it."""
    n_shared: CountOrNone = 0
    """Designated shared latents, the first ones: one decoder row for all models."""
    n_exclusive: CountOrNone = 0
    """Designated exclusive latents of each model, after the shared ones: zero rows for other models."""
    scale: tuple[float, ...] = ()
    """Factor per stream that training applied to activations: folded into the weights, kept as a record."""
    sources: tuple[str, ...] = ()
    """Path or repository of each model in `models`; empty when unknown."""
    assumptions: tuple[str, ...] = ()
    """How another library's checkpoint was read, one line for each point; empty for a crosscoder trained here."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_latent_budget(self, len(self.models))
        if self.sources and len(self.sources) != len(self.models):
            raise ValueError(f"{len(self.sources)} sources for {len(self.models)} models: give one for each, or none")
        if not self.models or not self.layers:
            raise ValueError("a crosscoder needs at least one model and one layer; both tuples must be filled")

    @property
    def n_streams(self) -> int:
        """Number of residual streams: one per model and layer."""
        return len(self.models) * len(self.layers)

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the residual streams: the models', or with several layers `base_layer10`, `base_layer14`, …."""
        return stream_names(self.models, self.layers)

    @property
    def rule(self) -> str:
        """The sparsity rule in words, with its k where it has one."""
        return f"{self.sparsity}, k {self.k}" if RULES[self.sparsity] == "k" else self.sparsity

    @property
    def site(self) -> str:
        """Which layers' inputs are read, in words."""
        several = "s" if len(self.layers) > 1 else ""
        if min(self.layers) < 0:
            return f"input{several} of {len(self.layers)} unknown layer{several}"
        return f"input{several} of layer{several} {', '.join(map(str, self.layers))}"

    @property
    def origins(self) -> str:
        """The models in words, each with its path or repository where that is known."""
        if not self.sources:
            return ", ".join(self.models)
        return ", ".join(f"{name} ({source})" for name, source in zip(self.models, self.sources, strict=True))


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainingConfig(ShortRepr):
    """How a crosscoder is trained; the defaults are meant for models of 1.5B parameters and more."""

    sparsity: Sparsity = "batchtopk"
    """Rule that decides which latents fire; batchtopk avoids most of L1's false exclusive latents."""
    tokens: Count = 100_000_000
    """Tokens to train on in all. The schedules end with the last of them, or with the data.
    A schedule that would take too large a share of the run is shortened, and the run's header says so."""
    batch_tokens: Count = 2048
    """Tokens per optimiser step."""
    n_latents: Count = 32_768
    """Latents in the dictionary."""
    n_shared: CountOrNone = 0
    """Latents that are shared by design: each has one decoder row for all models."""
    n_exclusive: CountOrNone = 0
    """Latents of each model that are exclusive by design: their decoder rows for other models stay zero."""
    k: Count = 100
    """Latents kept per token (topk), or on average per token (batchtopk)."""
    k_initial: Count = 1024
    """Latents kept per token at the first step; falls linearly to k, so that few latents die early. At least k."""
    k_anneal_steps: CountOrNone = 2000
    """Steps over which k_initial falls to k, at most two fifths of the run; 0 starts at k."""
    sparsity_coefficient: PositiveOrNone = 2.0
    """Weight λ of the l1 or jumprelu penalty. The squared error, in √d-scaled units, has weight 1."""
    sparsity_warmup_share: Share = 0.05
    """Share of the steps over which λ rises linearly from 0."""
    jumprelu_threshold: Positive = 0.1
    """JumpReLU threshold at the start, in units of the decoder-norm-weighted activation."""
    jumprelu_bandwidth: Positive = 0.1
    """Width of the straight-through window around a JumpReLU threshold, in the same units."""
    threshold_decay: ShareBelowOne = 0.999
    """Decay per step of the running mean that becomes batchtopk's inference threshold; it starts once k is reached.
    A run too short for that takes the plain mean over its last steps."""
    difference_weight: PositiveOrNone = field(
        default=0.0, metadata=beside_result(unless=lambda training: training.difference_weight > 0)
    )
    """Weight of a second squared error, that of last model minus first: it makes the dictionary reconstruct better what
    distillation changed. 0 leaves it out."""
    lr: Positive = 1e-4
    """Adam's learning rate, after warm-up."""
    lr_warmup_steps: CountOrNone = 1000
    """Steps over which the learning rate rises linearly from 0, at most a fifth of the run."""
    lr_decay_share: Share = 0.2
    """Share of the steps, at the end, over which the learning rate falls linearly to 0."""
    clip: Positive = 1.0
    """Largest norm of the whole gradient; larger ones are scaled down to it."""
    decoder_init_norm: Positive = 1.0
    """Norm of each decoder row at the start, per stream; 0.08 suits l1."""
    aux_coefficient: PositiveOrNone = 1 / 32
    """Weight of the loss that revives dead latents; 0 switches it off."""
    dead_after_tokens: Count = 10_000_000
    """A latent counts as dead when it fired on none of this many latest tokens, at most a fifth of the run's."""
    precision: Precision = "auto"
    """Type of the large matrix products; weights and the optimiser's memory are always fp32.
    auto is bf16 on a GPU and fp32 on a CPU; a run that is resumed goes on as it began.
    tf32 rounds the factors of fp32 products to 10 bits, on a GPU that can; fp32 never does."""
    kernels: Kernels = field(default="auto", metadata=beside_result(unless=lambda training: training.kernels != "auto"))
    """What computes the products of the codes that fire, in batchtopk and topk.
    auto is loops that numba compiles on a CPU, and torch's sparse matrices on a GPU; torch is these on both.
    ordered adds in one order, so that a run that is resumed on a GPU ends in the same bits; it takes longer.
    triton is kernels for CUDA devices, which take the optimiser's step too and were never timed on one; they are
    compared with torch's where training begins and at its first step."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.tokens < self.batch_tokens:
            raise ValueError(
                f"tokens {self.tokens} is less than one batch of {self.batch_tokens}: ask for more tokens, or lower"
                " batch_tokens"
            )
        check_latent_budget(self, n_models=1)

    @property
    def steps(self) -> int:
        """Number of optimiser steps; tokens beyond the last whole batch are not used."""
        return self.tokens // self.batch_tokens


def model_names(n_models: int) -> tuple[str, ...]:
    """Return names of models that have none."""
    return ("base", "distilled") if n_models == 2 else tuple(f"model_{index}" for index in range(n_models))


def check_latent_budget(config: CrosscoderConfig | TrainingConfig, n_models: int) -> None:
    """Raise `ValueError` for an unknown sparsity rule, and for more kept or designated latents than there are."""
    check_rule(config.sparsity)
    if RULES[config.sparsity] == "k" and config.k > config.n_latents:
        raise ValueError(f"k = {config.k} is more than n_latents = {config.n_latents}; lower k or raise n_latents")
    designated = config.n_shared + n_models * config.n_exclusive
    if designated > config.n_latents:
        raise ValueError(
            f"{config.n_shared} shared and {n_models} × {config.n_exclusive} exclusive latents are "
            f"{designated}, more than n_latents = {config.n_latents}; designate fewer or raise n_latents"
        )
