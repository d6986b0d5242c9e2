"""What does collecting examples cost over reading the models alone?

The embedded pair's held-out text, 32,768 tokens, two ways that take turns in one run: an activation stream that is
read and thrown away (harvest), and the whole pass of recipes/top_examples.py: reading, encoding with the shipped
crosscoder, strongest and sampled examples of all 768 latents, counts by category, and one save to SQLite. Every round
begins with no examples, the dearest stretch of a pass. Figures are medians of CPU time on one thread.
"""

from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from timing import time_in_turn

from toolkit.experiments.run import Run
from toolkit.latents.categories import categories, load_lexicon
from toolkit.latents.coded_batches import coded_batches
from toolkit.latents.example_pass import ExamplePass
from toolkit.latents.example_store import ExampleStore
from toolkit.latents.examples import TopExamples
from toolkit.latents.firing import FiringCounts
from toolkit.training.streams import open_activations

TOKENS, ROUNDS = 32_768, 3


def harvest(run: Run) -> int:
    """Read the models alone."""
    tokens = 0
    for chunk in open_activations(
        run.reading.text, run.reading.mask, run.models, run.corpus.held_out, seed=run.reading.seed
    ):
        tokens += len(chunk)
        if tokens >= TOKENS:
            break
    return tokens


def top_examples(run: Run) -> int:
    """Read, encode, collect, count and save."""
    n_latents = run.crosscoder.config.n_latents
    with TemporaryDirectory() as folder, ExampleStore(Path(folder) / "examples.sqlite", {}) as store:
        reading = ExamplePass(
            partial(coded_batches, run.models, run.crosscoder),
            run.tokens(),
            run.open_mask(),
            examples=TopExamples(n_latents, generator=torch.Generator().manual_seed(0)),
            firing=FiringCounts(categories(run.models.tokenizer, load_lexicon()), n_latents),
            store=store,
        )
        *_, tokens = reading.read(TOKENS)
    return tokens


@cache
def seconds() -> dict[str, float]:
    """Measure both ways once a process: CPU seconds for the same batches."""
    run = Run.open()
    assert harvest(run) == top_examples(run)
    ways = {"examples: harvest alone": lambda: harvest(run), "examples: whole pass": lambda: top_examples(run)}
    return time_in_turn(ways, ROUNDS)


def ratios() -> dict[str, float]:
    """Return the rate of the whole pass over that of the harvest."""
    alone, whole = seconds().values()
    return {"top_examples_over_harvest": alone / whole}
