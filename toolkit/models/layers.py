"""Where each architecture keeps its decoder layers."""

from collections.abc import Sequence

from torch import nn

_PATHS = {
    "Qwen2ForCausalLM": "model.layers",
    "Qwen3ForCausalLM": "model.layers",
    "LlamaForCausalLM": "model.layers",
    "Gemma2ForCausalLM": "model.layers",
    "Gemma3ForCausalLM": "model.layers",
    "Gemma3ForConditionalGeneration": "model.language_model.layers",
    "GPT2LMHeadModel": "transformer.h",
    "GPTNeoXForCausalLM": "gpt_neox.layers",
}


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
