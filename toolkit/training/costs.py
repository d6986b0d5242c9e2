"""What a run takes: floating-point operations and bytes, computed from shapes and settings alone.

A multiplication and an addition are two operations. Matrix products are counted, and nothing else: norms, activation
functions and the optimiser are bound by memory, not by arithmetic.
"""

import math
from dataclasses import dataclass

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.rules.rule import rule_of
from toolkit.harvest.cache_shards import bytes_a_token
from toolkit.harvest.choices import CacheType
from toolkit.models.model.shapes import ModelShape

MOMENTS = 2  # that Adam keeps of each weight


def harvest_flops(shape: ModelShape, layer: int, row_length: int) -> int:
    """Operations a token that bring one model to the input of `layer`, in rows of `row_length` tokens.

    Attention is counted whole, as is usual (Chowdhery et al. 2022, appendix B), though a causal kernel skips half.
    """
    attention = 2 * row_length * shape.attention_width  # multiplications: queries by keys, weights by values
    return 2 * layer * (shape.layer_matrices + attention)


def training_flops(training: TrainingConfig, width: int) -> int:
    """Operations a token of one training step; `width` is streams × d_model."""
    return rule_of(training.sparsity).step_flops(training, width)


def dictionary_parameters(training: TrainingConfig, width: int) -> int:
    """Numbers that training moves: encoder, decoder, both biases, and what the sparsity rule has beside them."""
    by_latent = 2 * width + 1 + len(rule_of(training.sparsity).extra_weights(training))
    return by_latent * training.n_latents + width


def trainer_bytes(training: TrainingConfig, width: int, n_streams: int) -> int:
    """Bytes of the state that a checkpoint holds."""
    return sum(state_sizes(training, width, n_streams))


def state_sizes(training: TrainingConfig, width: int, n_streams: int) -> list[int]:
    """Bytes of each tensor of that state: weights and Adam's moments in fp32, and what follows each latent."""
    rule, n = rule_of(training.sparsity), training.n_latents
    weights = [4 * n * width] * 2 + [4 * n] * (1 + len(rule.extra_weights(training))) + [4 * width]
    scalars = 3 + len(rule.memory)
    return weights * (1 + MOMENTS) + [8 * n, 4 * n_streams] + [8] * scalars  # silent tokens, scales, scalars


def pinned(size: int) -> int:
    """Bytes that torch takes for a tensor of so many in pinned memory, where a GPU's tensors are copied."""
    return 1 << (size - 1).bit_length() if size else 0


def gradient_bytes(training: TrainingConfig, width: int) -> int:
    """Bytes of the gradients that a step holds beside the state."""
    return 4 * dictionary_parameters(training, width)


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """All that a run's costs depend on."""

    models: tuple[ModelShape, ...]
    """Base, then distilled."""
    layers: tuple[int, ...]
    """Sites."""
    training: TrainingConfig
    """How the crosscoder is trained, and on how many tokens."""
    seeds: int = 1
    """Crosscoders that are trained alike, each from other initial weights."""
    row_length: int = 2048
    """Tokens of a row: all rows count as full."""
    forward_tokens: int = 16_384
    """Tokens of a forward pass."""
    buffer_tokens: int = 262_144
    """Activations in the shuffle buffer."""
    checkpoint_steps: int = 1000
    """Steps between two checkpoints."""
    weight_bytes: int = 2
    """Bytes of one of the models' weights: 2 in bf16."""

    @property
    def tokens(self) -> int:
        """Tokens that are read and trained on."""
        return self.training.tokens

    @property
    def n_streams(self) -> int:
        """Streams that are read: one for each model and layer."""
        return len(self.models) * len(self.layers)

    @property
    def width(self) -> int:
        """Numbers of a token's activations in all streams."""
        return self.n_streams * self.models[0].d_model

    @property
    def depth(self) -> int:
        """Decoder layers that run."""
        return max(self.layers)

    @property
    def harvest_flops(self) -> int:
        """Operations that read all tokens in all models."""
        return self.tokens * sum(harvest_flops(shape, self.depth, self.row_length) for shape in self.models)

    @property
    def training_flops(self) -> int:
        """Operations that train the crosscoders of all seeds on all tokens."""
        return self.seeds * self.tokens * training_flops(self.training, self.width)

    @property
    def passes(self) -> int:
        """Forward passes of each model."""
        return math.ceil(self.tokens / self.forward_tokens)

    @property
    def checkpoints(self) -> int:
        """Checkpoints that are written, one after the other."""
        return math.ceil(self.training.steps / self.checkpoint_steps)

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of one checkpoint: the trainers' states and a full buffer, in bf16."""
        return self.seeds * trainer_bytes(self.training, self.width, self.n_streams) + self.buffer_bytes

    @property
    def copy_bytes(self) -> int:
        """Bytes of pinned memory to which a GPU's checkpoint is copied while it is written."""
        states = state_sizes(self.training, self.width, self.n_streams)
        return self.seeds * sum(map(pinned, states)) + pinned(self.buffer_bytes)

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the shuffle buffer, in bf16."""
        return self.buffer_tokens * bytes_a_token("bf16", self.n_streams, self.models[0].d_model)

    def resident_bytes(self, depth: int | None = None) -> tuple[int, ...]:
        """Bytes of each model's weights, whole or as deep as is needed to read the input of layer `depth`."""
        return tuple(shape.parameters(depth) * self.weight_bytes for shape in self.models)

    def stored_bytes(self, kind: CacheType) -> int:
        """Bytes of all tokens' activations, on the wire or in a cache."""
        return self.tokens * bytes_a_token(kind, self.n_streams, self.models[0].d_model)
