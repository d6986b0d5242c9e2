"""What does reading a pair's residual streams cost over a bare forward pass, and what does stopping save?

Two random 12-layer Qwen2 models of width 512 are read at the input of layer 6 on the same 8 x 128 ids, three
ways that take turns in one run: `ModelPair.residual`; the two models by hand, with a hook that stops them
there (truncated); and two nnsight traces that run to the end (no stop). Figures are medians of CPU time on
one thread.
"""

import tempfile
from collections.abc import Callable, Mapping
from functools import cache

import nnsight
import torch
from timing import time_in_turn
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from toolkit.models.pair import ModelPair

SHAPE, LAYER, VOCAB, ROUNDS = (8, 128), 6, 8192, 5
CONFIG = Qwen2Config(
    hidden_size=512,
    intermediate_size=1408,
    num_hidden_layers=12,
    num_attention_heads=8,
    num_key_value_heads=4,
    vocab_size=VOCAB,
)


class Stop(Exception):  # noqa: N818 - it reports no error
    """Leaves a forward pass."""


def truncated(model: PreTrainedModel, inputs: Mapping[str, Tensor | None], layer: int = LAYER) -> Tensor:
    """Run `model` by hand up to the input of the site's layer."""
    seen: list[Tensor] = []

    def keep_and_stop(_: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append(args[0])
        raise Stop

    handle = model.base_model.layers[layer].register_forward_pre_hook(keep_and_stop)
    try:
        model(**inputs, use_cache=False)
    except Stop:
        return seen[0]
    finally:
        handle.remove()
    raise AssertionError("the forward pass did not reach the site")


def without_stop(pair: ModelPair, inputs: dict[str, Tensor]) -> Tensor:
    """Read both models with traces that run to the end."""
    streams = []
    for traced in (pair.base, pair.distilled):
        model = traced.model
        with model.trace(**inputs, use_cache=False):
            stream = nnsight.save(model.model.layers[LAYER].input)
        streams.append(stream)
    return torch.stack(streams, dim=2)


@cache
@torch.no_grad()
def seconds() -> dict[str, float]:
    """Measure each way once a process: CPU seconds for one batch of both models."""
    with tempfile.TemporaryDirectory() as folder:
        Qwen2ForCausalLM(CONFIG).save_pretrained(folder)
        words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
        PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
        pair = ModelPair.from_pretrained(base=folder, distilled=folder, layers=[LAYER], where="cpu")
        by_hand = [Qwen2ForCausalLM.from_pretrained(folder) for _ in range(2)]
    input_ids = torch.randint(VOCAB, SHAPE, generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    ways: dict[str, Callable[[], Tensor]] = {
        "read: harvest": lambda: pair.residual(**inputs),
        "read: truncated by hand": lambda: torch.stack([truncated(model, inputs) for model in by_hand], dim=2),
        "read: trace without stop": lambda: without_stop(pair, inputs),
    }
    reads = [way() for way in ways.values()]
    assert all(torch.equal(read, reads[0]) for read in reads)
    return time_in_turn(ways, ROUNDS)


def ratios() -> dict[str, float]:
    """Return the harvest's rate over that of the truncated pass, and over that of a trace without stop."""
    harvest, truncated_, no_stop = seconds().values()
    return {"harvest_over_truncated": truncated_ / harvest, "harvest_over_no_stop": no_stop / harvest}
