"""A model's shape as a few numbers, from its config alone: no weight is read or made."""

from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, Qwen2Config

from toolkit.models.files.loading import load_config
from toolkit.models.model.layers import layers_path


def _shape(width: int, depth: int, heads: int, groups: int, mlp: int, vocab: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "intermediate_size": mlp,
        "vocab_size": vocab,
    }


_1_5B = _shape(1536, 28, 12, 2, 8960, 151_936)
_7B = _shape(3584, 28, 28, 4, 18_944, 152_064)
_14B = _shape(5120, 48, 40, 8, 13_824, 152_064)
_LLAMA_8B = _shape(4096, 32, 32, 8, 14_336, 128_256)
KNOWN: dict[str, PreTrainedConfig] = {
    "Qwen/Qwen2.5-Math-1.5B": Qwen2Config(**_1_5B, tie_word_embeddings=True),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": Qwen2Config(**_1_5B, tie_word_embeddings=False),
    "agentica-org/DeepScaleR-1.5B-Preview": Qwen2Config(**_1_5B, tie_word_embeddings=False),
    "Qwen/Qwen2.5-Math-7B": Qwen2Config(**_7B, tie_word_embeddings=False),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": Qwen2Config(**_7B, tie_word_embeddings=False),
    "Qwen/Qwen2.5-14B": Qwen2Config(**_14B, tie_word_embeddings=False),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": Qwen2Config(**_14B, tie_word_embeddings=False),
    "meta-llama/Llama-3.1-8B": LlamaConfig(**_LLAMA_8B, tie_word_embeddings=False),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": LlamaConfig(**_LLAMA_8B, tie_word_embeddings=False),
}
"""Shapes of the presets' models, so that costs can be told where no hub is."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """How many numbers a model's parts hold."""

    d_model: int
    """Width of the residual stream."""
    n_layers: int
    """Decoder layers."""
    attention_width: int
    """Width of all query heads together."""
    layer: int
    """Parameters of one decoder layer."""
    layer_matrices: int
    """Those of them that matrix products use: all but biases and norms."""
    head: int
    """Parameters of the LM head; 0 where it is the embedding."""
    outside: int
    """Parameters outside layers and head: embeddings and the final norm."""

    @classmethod
    def from_config(cls, config: PreTrainedConfig) -> "ModelShape":
        """Count a model of this config; raises `ValueError` for an architecture whose layers are not known."""
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        layers = model.get_submodule(layers_path(model))
        sizes = [weight.numel() for weight in layers[0].parameters()]
        head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
        separate_head = 0 if head is embedding else head.numel()
        heads = config.num_attention_heads
        return cls(
            d_model=config.hidden_size,
            n_layers=len(layers),
            attention_width=heads * (getattr(config, "head_dim", None) or config.hidden_size // heads),
            layer=sum(sizes),
            layer_matrices=sum(weight.numel() for weight in layers[0].parameters() if weight.ndim == 2),
            head=separate_head,
            outside=sum(weight.numel() for weight in model.parameters()) - len(layers) * sum(sizes) - separate_head,
        )

    def parameters(self, depth: int | None = None) -> int:
        """Parameters of the whole model, or of what is kept to read the input of layer `depth`."""
        if depth is None:
            return self.outside + self.n_layers * self.layer + self.head
        return self.outside + depth * self.layer


def shape_of(source: str) -> ModelShape:
    """The shape of the model at `source`, a preset's without the network; raises `ValueError` as `load_config` does."""
    return ModelShape.from_config(KNOWN.get(source) or load_config(source))
