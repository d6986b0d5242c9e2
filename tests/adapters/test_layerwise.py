"""Models whose layers alone are not the model are told before anything is computed with them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import CONFIGS
from transformers import LlamaConfig, Qwen2Config

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.layerwise import check_layerwise
from toolkit.adapters.stretches import Stretches
from toolkit.dictionaries.transcoders import Adapter
from toolkit.models.where import Where

QWEN2 = CONFIGS["qwen2"].to_dict()


@pytest.fixture
def adapted(save_model: Callable[..., Path], adapter: Adapter) -> Callable[..., AdaptedModel]:
    def made(config: object, where: object = "cpu") -> AdaptedModel:
        base, distilled = (save_model(config, seed=seed) for seed in (1, 2))
        return AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter, where=where)

    return made


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_models_of_the_known_kinds_are_taken(adapted: Callable[..., AdaptedModel], kind: str, dtype: str) -> None:
    check_layerwise(adapted(CONFIGS[kind], Where(dtype=dtype)))


def test_models_that_scale_or_cap_beside_their_layers_are_refused(adapted: Callable[..., AdaptedModel]) -> None:
    for kind in ("gemma2", "gemma3"):
        models = adapted(CONFIGS[kind])
        models.hybrid.logits(torch.tensor([[3, 1, 4]]))  # reads are as the whole model computes them
        with pytest.raises(ValueError, match=f"a {kind}.* computes something beside its layers"):
            check_layerwise(models)


def test_eager_attention_is_refused(adapted: Callable[..., AdaptedModel]) -> None:
    with pytest.raises(ValueError, match="eager attention see later tokens: give sdpa"):
        check_layerwise(adapted(CONFIGS["qwen2"], Where(attn_implementation="eager")))


def test_rows_beyond_a_sliding_window_are_refused(adapted: Callable[..., AdaptedModel]) -> None:
    config = Qwen2Config(**QWEN2 | {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2}
                         | {"layer_types": None})  # fmt: skip
    models = adapted(config)
    stretches, ids = Stretches(models.module), torch.arange(6)[None]
    with pytest.raises(ValueError, match="a row of 6 tokens is longer than the 4 that some layers see"):
        stretches.run(stretches.embed(ids), modes.distilled(4))
    short = stretches.logits(stretches.run(stretches.embed(ids[:, :4]), modes.distilled(4)).sites[-1])
    torch.testing.assert_close(short, models.distilled.logits(ids[:, :4]))
    assert not torch.allclose(  # what a row beyond the window would give, were it not refused
        models.distilled.logits(ids), _without_window(adapted, config).logits(ids)
    )


def _without_window(adapted: Callable[..., AdaptedModel], config: Qwen2Config) -> object:
    return adapted(Qwen2Config(**config.to_dict() | {"use_sliding_window": False, "layer_types": None})).distilled


def test_a_window_that_no_layer_uses_limits_no_row(adapted: Callable[..., AdaptedModel]) -> None:
    models = adapted(LlamaConfig(**CONFIGS["llama"].to_dict()))
    stretches, ids = Stretches(models.module), torch.arange(40)[None]
    with torch.no_grad():
        found = stretches.logits(stretches.run(stretches.embed(ids), modes.distilled(4)).sites[-1])
    torch.testing.assert_close(found, models.distilled.logits(ids))
