"""Adapters and their models as they are published: the distilled model with the base model's MLPs and transcoders."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import CONFIGS
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig

from toolkit.dictionaries.transcoders import Adapter, AdapterConfig

SHAPE = AdapterConfig(d_model=32, n_layers=4, n_latents=24)


@pytest.fixture
def adapter() -> Adapter:
    """An adapter that does something; its weights are exact in bfloat16."""
    chance = torch.Generator().manual_seed(2)
    made = Adapter.initialised(SHAPE, chance)
    for each in made.transcoders:
        each.W_dec.data.copy_(torch.randn(each.W_dec.shape, generator=chance) / 10)
        each.b_dec.data.copy_(torch.randn(each.b_dec.shape, generator=chance) / 10)
    return made.bfloat16().float()


@pytest.fixture
def bf16_pair(save_model: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """A base model that ties its head, in float32, and a distilled one that does not, in bfloat16."""
    base = save_model(_with_head(tied=True), seed=1)
    distilled = save_model(_with_head(tied=False), seed=2)
    model = AutoModelForCausalLM.from_pretrained(distilled, dtype=torch.bfloat16)
    model.save_pretrained(distilled)
    return base, distilled


@pytest.fixture
def publish(bf16_pair: tuple[Path, Path], adapter: Adapter, tmp_path: Path) -> Callable[..., Path]:
    """Write the pair and the adapter in the published layout, in two shards; `change` changes tensors and config."""

    def write(change: Callable[[dict[str, Tensor], dict[str, object]], None] = lambda *_: None) -> Path:
        folder = tmp_path / "published"
        folder.mkdir()
        base, distilled = (AutoModelForCausalLM.from_pretrained(each, dtype=torch.bfloat16) for each in bf16_pair)
        tensors = distilled.state_dict() | {n: t for n, t in base.state_dict().items() if ".mlp." in n}
        for layer, part in enumerate(adapter.transcoders):
            name = f"model.layers.{layer}.mlp.transcoder_"
            tensors[f"{name}enc.weight"], tensors[f"{name}enc.bias"] = part.W_enc.data, part.b_enc.data
            tensors[f"{name}dec.weight"], tensors[f"{name}dec.bias"] = part.W_dec.data.t(), part.b_dec.data
        settings = json.loads((bf16_pair[1] / "config.json").read_text()) | {
            "architectures": ["Qwen2ForCausalLMWithTranscoder"],
            "transcoder_n_features": 24,
            "transcoder_dec_bias": True,
        }
        change(tensors, settings)
        (folder / "config.json").write_text(json.dumps(settings))
        _save_in_shards({n: t.bfloat16().contiguous() for n, t in tensors.items()}, folder)
        return folder

    return write


def _with_head(*, tied: bool) -> PreTrainedConfig:
    return type(CONFIGS["qwen2"])(**CONFIGS["qwen2"].to_dict() | {"tie_word_embeddings": tied})


def _save_in_shards(tensors: dict[str, Tensor], folder: Path) -> None:
    shards: dict[str, str] = {}
    for number, chosen in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name].clone() for name in chosen}, folder / file)
        shards |= dict.fromkeys(chosen, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
