"""Where the time of reading a pair goes: from transformers' own passes, cut at the site, to all that a run does.

Each way does what the one before it does, and something more, but for the first and the third: these show what norms of
single operations cost, and what a batch costs that is masked for one token of padding.
"""

from collections.abc import Callable, Iterator
from itertools import repeat

import torch
from gpu_shapes import Shapes, random_pair
from gpu_timing import host_seconds_of, seconds_of
from harvest import truncated

from toolkit.harvest.activations import read_batches
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.models.pair import ModelPair

Ways = dict[str, Callable[[], object]]


def time_reading(shapes: Shapes, device: torch.device) -> Iterator[dict[str, str | float]]:
    """Milliseconds of each way to read a batch with both models, and how long the CPU is busy with it."""
    tokens = shapes.rows[0] * shapes.rows[1]
    for name, (config, layer) in shapes.pairs.items():
        found = seconds_of_each(random_pair(config, layer, device), shapes, device)
        whole, _ = found["a run's source"]
        for way, (spent, host) in found.items():
            times = {"ms": 1e3 * spent, "host ms": 1e3 * host}
            yield {"pair": name, "way": way} | times | {"tokens/s": tokens / spent, "of the source": spent / whole}


def seconds_of_each(pair: ModelPair, shapes: Shapes, device: torch.device) -> dict[str, tuple[float, float]]:
    """Seconds of each way, and those of the CPU."""
    repeats = -(-shapes.repeats // 2)
    return {
        way: (seconds_of(work, device, repeats), host_seconds_of(work, device, max(1, repeats // 2)))
        for way, work in reading_ways(pair, shapes.rows, device).items()
    }


def reading_ways(pair: ModelPair, shape: tuple[int, int], device: torch.device) -> Ways:
    """Ways to read the same random ids with both models."""
    (layer,) = pair.layers
    modules = [model.model._module.requires_grad_(False) for model in pair.models.values()]
    vocabulary = min(pair.vocab_size, len(pair.tokenizer))
    ids = torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(0))
    batch = TokenBatch(ids, torch.ones_like(ids))
    there = ids.to(device)
    padded = torch.ones_like(there)
    padded[0, -1] = 0
    first = torch.ones_like(ids, dtype=torch.bool)
    first[:, 0] = False
    mask = TokenMask(special_ids=frozenset(), keep_position_0=False, outlier_factor=10.0)
    source = read_batches(pair, repeat(batch), mask)

    @torch.no_grad()
    def bare(attention_mask: torch.Tensor | None = None) -> None:
        for module in modules:
            truncated(module, {"input_ids": there, "attention_mask": attention_mask}, layer)

    def with_own_norms() -> None:
        for module in modules:  # norms are fused only where gradients are off; no weight asks for one here
            truncated(module, {"input_ids": there, "attention_mask": None}, layer)

    return {
        "bare passes, norms not fused": with_own_norms,
        "bare passes": bare,
        "bare passes, masked": lambda: bare(padded),
        "nnsight's passes": lambda: pair.residual(ids, batch.attention_mask),
        "selection": lambda: pair.selected(ids, batch.attention_mask, first),
        "a run's source": lambda: next(source),
    }
