"""What `gpu.py` times: the paper's shapes with random weights and random ids, or tiny ones to try the code."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, Qwen2Config

from toolkit.models.files.loading import behind_nnsight
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model.fused_norms import fuse_norms
from toolkit.models.model.layers import truncated
from toolkit.models.model.shapes import KNOWN
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.pair import ModelPair
from toolkit.models.places.here import Here
from toolkit.models.presets import PRESETS
from toolkit.models.sources import Source
from toolkit.tracking import Stopwatch


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """What is timed."""

    pairs: dict[str, tuple[PreTrainedConfig, int]]
    """Config of either model and the layer whose input is read."""
    rows: tuple[int, int]
    """Rows of a forward pass, tokens of each."""
    d_model: int
    latents: tuple[int, ...]
    batch: int
    k: int
    repeats: int
    run_steps: int
    """Steps of a whole run."""


def real_shapes() -> Shapes:
    """The paper's pairs and dictionaries."""
    names = {"1.5B": "qwen-1.5b", "7B": "qwen-7b", "14B": "qwen-14b"}
    pairs = {name: (KNOWN[PRESETS[pair].base], PRESETS[pair].layers[0]) for name, pair in names.items()}
    latents = (32_768, 65_536, 131_072)
    return Shapes(
        pairs=pairs, rows=(8, 2048), d_model=1536, latents=latents, batch=2048, k=100, repeats=20, run_steps=384
    )


def tiny_shapes() -> Shapes:
    """A trial of the code."""
    tiny = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen2Config(**tiny, num_hidden_layers=3, vocab_size=1640)
    return Shapes(
        pairs={"tiny": (config, 2)}, rows=(2, 16), d_model=32, latents=(64,), batch=32, k=4, repeats=2, run_steps=6
    )


def random_pair(config: PreTrainedConfig, layer: int, device: torch.device) -> ModelPair:
    """Two random models in bf16 as deep as the site needs, made on the device."""
    tokenizer = load_tokenizer(PRESETS["organism"].base)
    cut = truncated(config, layer + 1)
    models = {}
    for name in ("base", "distilled"):
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(cut, dtype=torch.bfloat16)
        fuse_norms(model)
        models[name] = TracedModel(Here(behind_nnsight(model, tokenizer)))
    return ModelPair(
        models=models,
        tokenizer=tokenizer,
        layers=(layer,),
        clashing_ids={},
        found=tuple(Source(role=name, name="random") for name in models),
    )


class RandomText:
    """Activations of random ids, without end."""

    def __init__(self, pair: ModelPair, rows: tuple[int, int]) -> None:
        self._pair, self.stopwatch = pair, Stopwatch()
        vocabulary = min(pair.vocab_size, len(pair.tokenizer))
        self._ids = torch.randint(vocabulary, rows, generator=torch.Generator().manual_seed(0))
        self._mask, self._positions = torch.ones_like(self._ids), torch.ones_like(self._ids, dtype=torch.bool)

    def read(self) -> Tensor:
        """One forward pass of each model."""
        return self._pair.selected(self._ids, self._mask, self._positions)

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield self.read()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: no place in it differs from another."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from anywhere."""

    def close(self) -> None:
        """Nothing to end: who iterates stops by himself."""
