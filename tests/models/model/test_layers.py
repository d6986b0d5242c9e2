"""Decoder layers are found in every known architecture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    MambaConfig,
    PreTrainedConfig,
    T5Config,
)

from toolkit.models.model.layers import check_known, check_layers, layers_path


def test_the_path_leads_to_the_decoder_layers(any_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(any_folder)
    layers = model.get_submodule(layers_path(model))
    assert isinstance(layers, nn.ModuleList)
    assert len(layers) == model.config.num_hidden_layers


def test_the_text_half_of_a_multimodal_gemma() -> None:
    with torch.device("meta"):
        model = Gemma3ForConditionalGeneration(Gemma3Config())
    layers = model.get_submodule(layers_path(model))
    assert isinstance(layers, nn.ModuleList)
    assert len(layers) == model.config.text_config.num_hidden_layers


def test_what_is_no_language_model_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear is no language model of transformers"):
        layers_path(nn.Linear(1, 1))


@pytest.mark.parametrize("kind", [BertConfig, MambaConfig, T5Config])
def test_an_unknown_type_is_named_with_the_known_ones(kind: type[PreTrainedConfig]) -> None:
    with pytest.raises(
        ValueError, match=rf"model type '{kind.model_type}' are not known; .*gpt_neox.*qwen2, .*layers.py"
    ):
        check_known(kind())


@pytest.mark.parametrize("layer", [-1, 4])
def test_a_layer_out_of_range_is_refused(layer: int) -> None:
    with pytest.raises(ValueError, match=rf"layer {layer} .*4 decoder layers.*0 to 3"):
        check_layers([0, layer], 4)


@pytest.mark.parametrize("layers", [[], (), range(0), torch.tensor([], dtype=torch.long)], ids=repr)
def test_no_layer_is_refused(layers: Any) -> None:
    with pytest.raises(ValueError, match="at least one"):
        check_layers(layers, 4)


@pytest.mark.parametrize("layers", [[0, 2], range(0, 3, 2), torch.tensor([0, 2]), np.array([0, 2])], ids=repr)
def test_layers_come_in_any_sequence(layers: Any) -> None:
    assert check_layers(layers, 4) == (0, 2)
    assert check_layers(0, 4) == check_layers(torch.tensor(0), 4) == (0,)
