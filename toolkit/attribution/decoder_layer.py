"""One decoder layer of Qwen2, Qwen3 or Llama, written out, so that what passes between its parts can be seen and held.

It reads the weights of a model's own modules, and computes in the type of what it is given.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from toolkit.adapters.adapted_model import decoder_layers
from toolkit.adapters.modes import Mode
from toolkit.dictionaries.transcoders import Transcoder

KNOWN = ("qwen2", "qwen3", "llama")


class Passed(NamedTuple):
    """What a layer made of its input; queries are scaled, queries and keys rotated by position."""

    attention_factor: Float[Tensor, "row position 1"]
    queries: Float[Tensor, "row head position head_dim"]
    keys: Float[Tensor, "row kv_head position head_dim"]
    mlp_factor: Float[Tensor, "row position 1"]
    mlp_input: Float[Tensor, "row position d_model"]
    gate: Float[Tensor, "row position d_ff"]
    up: Float[Tensor, "row position d_ff"]
    out: Float[Tensor, "row position d_model"]


class DecoderLayer:
    """A decoder layer with one MLP and the latents beside it; `scale` is the factor of what each latent adds."""

    def __init__(self, layer: Any, mlp: Any, transcoder: Transcoder, scale: float | Tensor, bias: bool) -> None:
        self.attention, self.mlp, self.transcoder = layer.self_attn, mlp, transcoder
        self.attention_norm, self.mlp_norm = layer.input_layernorm, layer.post_attention_layernorm
        self.scale, self.bias = scale, bias
        self.head_dim: int = self.attention.head_dim
        self.n_heads: int = self.attention.o_proj.in_features // self.head_dim
        self.n_kv_heads: int = self.attention.v_proj.out_features // self.head_dim
        self.window: int | None = getattr(self.attention, "sliding_window", None)

    def activations(self, mlp_input: Float[Tensor, "*place d_model"]) -> Float[Tensor, "*place latent"]:
        """What each latent's decoder row is multiplied by: its code, times the mode's factor."""
        scale = self.scale.to(mlp_input) if isinstance(self.scale, Tensor) else self.scale
        return self.transcoder.encode(mlp_input) * scale

    def run(
        self,
        stream: Float[Tensor, "row position d_model"],
        rotary: Sequence[Tensor],
        held: Float[Tensor, "position d_model"] | None = None,
    ) -> Passed:
        """Run the layer; `held` stands for what its latents add, where they are not to follow the stream."""
        seen, attention_factor = normed(self.attention_norm, stream)
        queries, keys, values = (self._by_head(name, seen) for name in ("q", "k", "v"))
        queries, keys = rotated(queries, rotary) * self.attention.scaling, rotated(keys, rotary)
        groups = self.n_heads // self.n_kv_heads
        mixed = nn.functional.scaled_dot_product_attention(
            queries,
            keys.repeat_interleave(groups, dim=1),
            values.repeat_interleave(groups, dim=1),
            attn_mask=self._window_mask(stream),
            is_causal=self.window is None,
            scale=1.0,
        )
        middle = stream + linear(self.attention.o_proj, mixed.transpose(1, 2).flatten(2))
        mlp_input, mlp_factor = normed(self.mlp_norm, middle)
        gate, up = linear(self.mlp.gate_proj, mlp_input), linear(self.mlp.up_proj, mlp_input)
        out = middle + linear(self.mlp.down_proj, nn.functional.silu(gate) * up)
        if held is not None:
            out = out + held
        elif isinstance(self.scale, Tensor) or self.scale:
            out = out + self.transcoder.decode(self.activations(mlp_input))
        if self.bias:
            out = out + self.transcoder.b_dec.to(out)
        return Passed(attention_factor, queries, keys, mlp_factor, mlp_input, gate, up, out)

    def _by_head(self, name: str, seen: Tensor) -> Tensor:
        heads = linear(getattr(self.attention, f"{name}_proj"), seen).unflatten(-1, (-1, self.head_dim))
        norm = getattr(self.attention, f"{name}_norm", None)
        return (heads if norm is None else normed(norm, heads)[0]).transpose(1, 2)

    def _window_mask(self, stream: Tensor) -> Tensor | None:
        if self.window is None:
            return None
        places = torch.arange(stream.shape[1], device=stream.device)
        back = places[:, None] - places
        return (back >= 0) & (back < self.window)


def layers_in_mode(module: PreTrainedModel, mode: Mode) -> list[DecoderLayer]:
    """Return the layers of an adapted model's module, in a mode; raises `ValueError` for another architecture."""
    check_written_out(module)
    return [
        DecoderLayer(
            layer,
            layer.mlp.base if each.mlp == "base" else layer.mlp.distilled,
            layer.mlp.transcoder,
            each.scale,
            each.bias,
        )
        for layer, each in zip(decoder_layers(module), mode, strict=True)
    ]


def plain_layers(module: PreTrainedModel) -> list[DecoderLayer]:
    """Return the layers of a model without an adapter; raises `ValueError` for another architecture."""
    check_written_out(module)
    without = Transcoder(module.config.hidden_size, 0).to(module.device)
    return [DecoderLayer(layer, layer.mlp, without, 0.0, False) for layer in decoder_layers(module)]


def check_written_out(module: PreTrainedModel) -> None:
    """Raise `ValueError` for a model whose layers are not those that are written out here."""
    kind = module.config.model_type
    if kind not in KNOWN or module.config.hidden_act not in ("silu", "swish"):
        raise ValueError(
            f"attribution knows the layers of {', '.join(KNOWN)}, with SiLU, and this model is a {kind}: a new kind"
            " needs its layer in toolkit/attribution/decoder_layer.py"
        )


def linear(module: nn.Linear, x: Tensor) -> Tensor:
    """A linear map in the type of what it maps."""
    bias = module.bias
    return nn.functional.linear(x, module.weight.to(x), None if bias is None else bias.to(x))


def normed(norm: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """RMSNorm of x, and the factor 1/√(mean x² + ε)."""
    factor = torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + norm.variance_epsilon)
    return x * factor * norm.weight.to(x), factor


def rotated(heads: Tensor, rotary: Sequence[Tensor]) -> Tensor:
    """Rotary embedding of queries or keys [row, head, position, head_dim]."""
    cosine, sine = (each.to(heads)[:, None] for each in rotary)
    first, second = heads.chunk(2, dim=-1)
    return heads * cosine + torch.cat([-second, first], dim=-1) * sine
