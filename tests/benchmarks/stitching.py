"""What do the moments and the ridges of all cuts cost over a bare reading of both models to the same depth?

Both sides take the same batches to the input of the last layer. One reads that site alone and drops it; the other reads
all layers, gathers their moments, and fits four ridges at each: from base to distilled, back, and each model to itself.
The embedded pair reads its own text; two random models of SmolLM2-135M's shape, but with 6 layers of 30, read random
ids. Both read 16,384 tokens, a quarter of what the recipe does: ridges cost the same for any number of tokens. Figures
are medians of CPU time on one thread.
"""

from collections.abc import Sequence
from functools import cache, partial
from itertools import islice

import torch
from timing import time_in_turn
from transformers import LlamaConfig, LlamaForCausalLM

from toolkit.harvest.activations import read_batches
from toolkit.harvest.harvesting import batch_texts, open_mask
from toolkit.harvest.tokens import TokenBatch
from toolkit.models.pair import ModelPair
from toolkit.organism.corpus import documents
from toolkit.stitching.closed_form import ridge
from toolkit.stitching.moments import read_moments

TOKENS, ROUNDS = 16_384, 2
CONFIG = LlamaConfig(
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=6,
    num_attention_heads=9,
    num_key_value_heads=3,
    vocab_size=4096,
)
LENGTH, AT_ONCE = 256, 8


def read(pair: ModelPair, batches: Sequence[TokenBatch]) -> int:
    """Read both models at their last site alone."""
    return sum(len(batch.activations) for batch in read_batches(pair, batches, open_mask()))


def stitch(pair: ModelPair, batches: Sequence[TokenBatch]) -> int:
    """Gather the moments of all cuts in one reading, and fit all ridges."""
    cuts = [(layer, layer) for layer in range(pair.n_layers)]
    found = read_moments(pair.base, pair.distilled, batches, open_mask(), cuts)
    for cut in found.values():
        for moments in (cut, cut.reversed(), cut.front_to_itself(), cut.reversed().front_to_itself()):
            ridge(moments.fit, moments.chosen_by)
    return cut.fit.n + cut.chosen_by.n


@cache
@torch.no_grad()
def seconds() -> dict[str, float]:
    """Measure each side once a process: CPU seconds for all batches."""
    ways = {}
    for name, (pair, batches) in {"embedded pair": _embedded(), "135M, 6 layers": _random()}.items():
        tokens = read(pair, batches)
        assert tokens == stitch(pair, batches)
        ways[f"stitching, {name}: {tokens:,} tokens read"] = partial(read, pair, batches)
        ways[f"stitching, {name}: moments and ridges"] = partial(stitch, pair, batches)
    return time_in_turn(ways, ROUNDS)


def ratios() -> dict[str, float]:
    """Return the time of moments and ridges as a multiple of a reading's, for both pairs."""
    embedded, embedded_ridges, random, random_ridges = seconds().values()
    return {
        "stitching_over_reading": embedded_ridges / embedded,
        "stitching_over_reading_135m": random_ridges / random,
    }


def _embedded() -> tuple[ModelPair, list[TokenBatch]]:
    pair = ModelPair.from_pretrained("organism", layers=[5], where="cpu")
    texts = (document.text for document in documents("thinking", split="held_out", seed=0))
    (batches,) = islice(batch_texts(pair, texts, chunk_tokens=TOKENS), 1)
    return pair, batches


def _random() -> tuple[ModelPair, list[TokenBatch]]:
    generator = torch.Generator().manual_seed(0)
    base, distilled = (LlamaForCausalLM(CONFIG).eval() for _ in range(2))
    tokenizer = ModelPair.from_pretrained("organism", where="cpu").tokenizer
    pair = ModelPair.from_pretrained(base=base, distilled=distilled, layers=[5], tokenizer=tokenizer)
    ids = torch.randint(len(tokenizer), (TOKENS // LENGTH, LENGTH), generator=generator)
    return pair, [TokenBatch(each, torch.ones_like(each)) for each in ids.split(AT_ONCE)]
