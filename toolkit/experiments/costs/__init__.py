"""What would a run cost, and how does each way of running it change that?"""

from dataclasses import dataclass
from typing import Literal

from toolkit.dictionaries.rules import Sparsity
from toolkit.fields import ShortRepr
from toolkit.ranges import Count, Positive, check_ranges
from toolkit.settings.models import ModelChoice


@dataclass(frozen=True, kw_only=True, repr=False)
class PlannedModels(ModelChoice):
    """Which two models would be read."""

    pair: str | None = None
    """Models by name: organism, qwen-1.5b, qwen-7b, qwen-14b, deepscaler-1.5b or llama-8b; default: qwen-1.5b."""


@dataclass(frozen=True, kw_only=True, repr=False)
class RunCostsConfig(ShortRepr):
    """What a training run would cost in operations, bytes and hours, and how each way of running it changes that."""

    layers: tuple[int, ...] = ()
    """Sites: inputs of these decoder layers; default: the pair's, else the middle one."""

    tokens: int = 400_000_000
    """Training tokens."""
    row_length: Count = 2048
    """Tokens in a row; all rows are taken as full."""
    forward_tokens: Count = 16_384
    """Tokens of one forward pass."""
    batch_tokens: int = 2048
    """Tokens per optimiser step."""
    buffer_tokens: Count = 262_144
    """Activations in the shuffle buffer, in bf16."""
    checkpoint_steps: Count = 1000
    """Steps between two checkpoints."""
    sparsity: Sparsity = "batchtopk"
    """Rule that decides which latents fire."""
    n_latents: int = 32_768
    """Latents in the dictionary."""
    k: int = 100
    """Latents kept per token by topk and batchtopk."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Type of training's large matrix products."""

    max_memory: str = "2GB"
    """Weights of each model that stay in memory where the rest is offloaded."""
    seeds: Count = 1
    """Crosscoders that are trained alike, each from other initial weights."""
    sweep: Count = 4
    """Crosscoders that the sweep trains."""
    rates: Literal["h100", "here"] = "h100"
    """Where hours come from: reading and training steps as an H100 did them, or this machine's matrix products, which
    are timed for a second."""
    tflops: Positive | None = None
    """Assumed rate of all matrix products, in TFLOP/s, in place of a measured one."""
    models: PlannedModels = PlannedModels()

    def __post_init__(self) -> None:
        check_ranges(self)
