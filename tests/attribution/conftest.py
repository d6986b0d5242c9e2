"""An adapted model of each architecture, with no tensor that is zero or one."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONFIGS
from transformers import PreTrainedConfig

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig


@pytest.fixture(scope="session")
def make_adapted(save_model: Callable[..., Path]) -> Callable[..., AdaptedModel]:
    """Make an adapted model of this configuration whose latents fire on half of all tokens."""

    def make(config: PreTrainedConfig, n_latents: int = 6) -> AdaptedModel:
        base, distilled = (str(save_model(config, seed)) for seed in (1, 2))
        adapter = Adapter(AdapterConfig(d_model=32, n_layers=config.num_hidden_layers, n_latents=n_latents))
        adapted = AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter)
        chance = torch.Generator().manual_seed(3)
        for parameter in adapted.module.parameters():
            like = (float(parameter.data.std()) if parameter.dim() > 1 else 0.0) or 0.3
            drawn = torch.randn(parameter.shape, generator=chance)
            parameter.data.copy_(drawn.mul(3 * like).add(float(parameter.data.mean())))
        return adapted

    return make


@pytest.fixture(scope="session", params=["qwen2", "qwen3", "llama"])
def adapted(request: pytest.FixtureRequest, make_adapted: Callable[..., Any]) -> AdaptedModel:
    config = deepcopy(CONFIGS[request.param])
    config.attention_bias = config.mlp_bias = True  # where the architecture has such biases
    return make_adapted(config)
