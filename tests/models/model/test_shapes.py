"""Shapes against saved models, and against what the hub says of the presets' models."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from toolkit.models.model.layers import layers_path
from toolkit.models.model.shapes import KNOWN, shape_of
from toolkit.models.presets import CHECKOUT, PRESETS

ON_THE_HUB = {  # parameters, as the hub's pages of the models count them
    "Qwen/Qwen2.5-Math-1.5B": 1_543_714_304,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
    "Qwen/Qwen2.5-Math-7B": 7_615_616_512,
    "Qwen/Qwen2.5-14B": 14_770_033_664,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
}


def test_a_shape_counts_a_saved_model(any_folder: Path):
    model, shape = AutoModelForCausalLM.from_pretrained(any_folder), shape_of(str(any_folder))
    layers = model.get_submodule(layers_path(model))
    layer = list(layers[1].parameters())
    head = model.get_output_embeddings().weight
    tied = head is model.get_input_embeddings().weight
    assert shape.n_layers == len(layers)
    assert shape.layer == sum(weight.numel() for weight in layer)
    assert shape.layer_matrices == sum(weight.numel() for weight in layer if weight.ndim == 2)
    assert shape.head == (0 if tied else head.numel())
    assert shape.parameters() == sum(weight.numel() for weight in model.parameters())
    after = sum(weight.numel() for each in list(layers)[1:] for weight in each.parameters())
    assert shape.parameters(depth=1) == shape.parameters() - shape.head - after


@pytest.mark.parametrize("source", ON_THE_HUB)
def test_known_shapes_have_the_parameters_that_the_hub_counts(source: str):
    assert shape_of(source).parameters() == ON_THE_HUB[source]


def test_every_preset_is_known_without_a_network():
    there = {model for preset in PRESETS.values() for model in (preset.base, preset.distilled)}
    assert {model for model in there if not model.startswith(str(CHECKOUT))} == KNOWN.keys()


def test_a_model_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no model folder at"):
        shape_of("./nowhere")
