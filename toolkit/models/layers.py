"""What differs between architectures: where the decoder layers and the last norm are, and what the cache is called."""

import copy
import inspect
from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedConfig

_PATHS = {
    "Qwen2ForCausalLM": "model.layers",
    "Qwen3ForCausalLM": "model.layers",
    "LlamaForCausalLM": "model.layers",
    "Gemma2ForCausalLM": "model.layers",
    "Gemma3ForCausalLM": "model.layers",
    "Gemma3ForConditionalGeneration": "model.language_model.layers",
    "GPT2LMHeadModel": "transformer.h",
    "GPTNeoXForCausalLM": "gpt_neox.layers",
    # Without a head, as a harvest reads them:
    "Qwen2Model": "layers",
    "Qwen3Model": "layers",
    "LlamaModel": "layers",
    "Gemma2Model": "layers",
    "Gemma3TextModel": "layers",
    "Gemma3Model": "language_model.layers",
    "GPT2Model": "h",
    "GPTNeoXModel": "layers",
}
_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm")


def layers_path(model: nn.Module) -> str:
    """Return the dotted path from a language model of transformers to its list of decoder layers.

    Raises `ValueError` for a class whose layers are not known.
    """
    name = type(model).__name__
    if name not in _PATHS:
        raise ValueError(
            f"the decoder layers of {name} are not known; known are {', '.join(_PATHS)}. "
            "A new class needs one line in toolkit/models/layers.py."
        )
    return _PATHS[name]


def final_norm_path(model: nn.Module) -> str:
    """Return the dotted path to the norm behind the last decoder layer; raises `ValueError` as `layers_path`."""
    parent = layers_path(model).rpartition(".")[0]
    decoder = model.get_submodule(parent)
    name = next(name for name in _FINAL_NORMS if hasattr(decoder, name))
    return f"{parent}.{name}".removeprefix(".")


def cache_name(model: nn.Module) -> str:
    """Return the keyword that takes the model's cache of keys and values: transformers 5.24 renamed it."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def truncated(config: PreTrainedConfig, depth: int) -> PreTrainedConfig:
    """Return the config of the same model with its first `depth` decoder layers only."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    whole = text.num_hidden_layers
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == whole:  # one entry a layer, as in layer_types
            setattr(text, name, value[:depth])
    text.num_hidden_layers = depth
    return config


def check_layers(layers: Sequence[int], n_layers: int) -> None:
    """Raise `ValueError` if `layers` is empty or one of them lies outside [0, n_layers)."""
    if not layers:
        raise ValueError("no layer given: name at least one site")
    for layer in layers:
        if not 0 <= layer < n_layers:
            raise ValueError(
                f"layer {layer} is out of range: the model has {n_layers} decoder layers, "
                f"so choose from 0 to {n_layers - 1}"
            )
