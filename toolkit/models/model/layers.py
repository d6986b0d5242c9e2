"""The differences between architectures: the paths of the decoder layers and the last norm, and the cache's name."""

import copy
import inspect
from typing import Any

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from toolkit.arguments import Indices, as_indices

_MODEL_TYPES = {
    "layers": """
        afmoe apertus arcee bitnet cohere cohere2 cohere2_moe cwm deepseek_v2 deepseek_v3 diffllama doge dots1 ernie4_5
        ernie4_5_moe exaone exaone4 exaone_moe flex_olmo gemma gemma2 gemma3_text glm glm4 glm4_moe
        glm4_moe_lite gpt_neox gpt_oss granite granitemoe granitemoeshared helium hunyuan_v1_dense hunyuan_v1_moe
        hy_v3 hyperclovax internlm3 iquestcoder jais2 llama mellum minimax_m2 ministral ministral3
        mistral mixtral nemotron olmo olmo2 olmo3 olmoe persimmon phi phi3 phimoe qwen2 qwen2_moe qwen3
        qwen3_moe seed_oss smollm3 solar_open stablelm starcoder2 vaultgemma youtu
    """,
    "h": "codegen falcon gpt2 gpt_bigcode gpt_neo gptj",
    "decoder.layers": "opt",
    "language_model.layers": "gemma3",
}
"""Maps the attribute that holds a decoder's layers to the model types, as config.json names them, that use it.

Types are left out if their stream is not one tensor, or if their first layers compute something else in a model of
fewer layers (minicpm3 scales by its depth, nanochat runs its last norm first).
"""

_LAYERS = {model_type: path for path, types in _MODEL_TYPES.items() for model_type in types.split()}
_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def check_known(config: PreTrainedConfig) -> None:
    """Raise `ValueError` for a model whose decoder layers are not known."""
    if config.model_type not in _LAYERS:
        known = ", ".join(sorted(_LAYERS))
        raise ValueError(
            f"the decoder layers of model type {config.model_type!r} are not known; known are {known}. "
            "A new type needs one word in toolkit/models/model/layers.py"
        )


def layers_path(model: nn.Module) -> str:
    """Return the dotted path from a language model of transformers, with its head or without, to its decoder layers.

    Raises `ValueError` for a class whose layers are not known.
    """
    if not isinstance(model, PreTrainedModel):
        raise ValueError(f"{type(model).__name__} is no language model of transformers: load one with it")
    check_known(model.config)
    decoder = next(name for name, module in model.named_modules() if module is model.base_model)
    return f"{decoder}.{_LAYERS[model.config.model_type]}".removeprefix(".")


def layer_in_base_model(model: PreTrainedModel, layer: int) -> str:
    """Return the dotted path from a language model's `base_model`, which has no head, to one of its decoder layers."""
    return f"{_LAYERS[model.config.model_type]}.{layer}"


def final_norm_path(model: nn.Module) -> str:
    """Return the dotted path to the norm behind the last decoder layer; raises `ValueError` as `layers_path`."""
    parent = layers_path(model).rpartition(".")[0]
    decoder = model.get_submodule(parent)
    name = next(name for name in _FINAL_NORMS if hasattr(decoder, name))
    return f"{parent}.{name}".removeprefix(".")


def site_modules(model: Any) -> Any:
    """Return the modules of a model behind nnsight whose inputs are the sites: its decoder layers.

    A model without a head has only the first layers; the final norm follows the last of them.
    """
    module = model._module
    layers = model.get(layers_path(module))
    if module.get_output_embeddings() is not None:
        return layers
    return [*(layers[layer] for layer in range(len(layers._module))), model.get(final_norm_path(module))]


def attention_window(config: PreTrainedConfig) -> int | None:
    """Return how many tokens some layers attend to at most, each with itself; None where all see the whole text."""
    window: int | None = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)
    return window if types is None or "sliding_attention" in types else None


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


def check_layers(layers: Indices, n_layers: int) -> tuple[int, ...]:
    """Return one layer or several as ints; raises `ValueError` for none, or one that lies outside [0, n_layers)."""
    found = as_indices(layers, "layer")
    if not found:
        raise ValueError("no layer is given: name at least one, as layers=3")
    for layer in found:
        if not 0 <= layer < n_layers:
            raise ValueError(
                f"layer {layer} is out of range: the model has {n_layers} decoder layers, "
                f"so choose from 0 to {n_layers - 1}"
            )
    return found


def is_causal(config: PreTrainedConfig) -> bool:
    """Whether a token sees only what stands before it, as some models for embeddings are told not to."""
    both_ways = getattr(config, "use_bidirectional_attention", False)
    return bool(getattr(config, "is_causal", True)) and not both_ways
