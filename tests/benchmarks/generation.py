"""Is generating under a trace as fast as transformers' own generation, and how much faster where answers end apart?

The embedded distilled model answers the shipped questions two ways that take turns in one run: `generate_each`, which
replaces rows as they end, and `generate` of transformers, batch after batch of as many rows. *Mixed*: two sampled
answers to every question, of up to 320 tokens, each up to its end. *Equal*: greedy answers of which none may end.
Figures are medians of CPU time on one thread.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from unittest.mock import patch

import torch
from timing import time_in_turn

from toolkit.answers.questions import load_questions, shipped_questions
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.pair import ModelPair
from toolkit.models.text.chat import thinking_prompt
from toolkit.models.text.rows import padded
from toolkit.models.text.tokenizers import encode

ROWS, ROUNDS = 128, 3
MIXED = Sampling(new_tokens=320, temperature=0.6, top_p=1.0)
EQUAL = Sampling(new_tokens=160)


@cache
def seconds() -> dict[str, float]:
    """Measure both ways once a process: CPU seconds for all answers."""
    model = ModelPair.from_pretrained("organism", where="cpu").distilled
    questions = load_questions(shipped_questions(embedded=True))
    prompts = encode(model.tokenizer, [thinking_prompt(model.tokenizer, each.question) for each in questions])
    ends = model.end_ids.tolist()
    mixed = time_in_turn(
        {
            "mixed lengths: transformers": lambda: by_transformers(model, 2 * prompts, MIXED, ends),
            "mixed lengths: rows replaced": lambda: dict(model.generate_each(2 * prompts, sampling=MIXED, rows=ROWS)),
        },
        ROUNDS,
    )
    with endless(model):
        equal = time_in_turn(
            {
                "equal lengths: transformers": lambda: by_transformers(model, prompts[:ROWS], EQUAL, []),
                "equal lengths: traced": lambda: model.generate_ids(prompts[:ROWS], sampling=EQUAL),
            },
            ROUNDS,
        )
    return mixed | equal


def by_transformers(model: TracedModel, prompts: list[list[int]], sampling: Sampling, ends: list[int]) -> None:
    """Let transformers alone continue the prompts, batch after batch."""
    drawing = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0} if sampling.temperature else {}
    how = {"do_sample": False} | drawing | {"max_new_tokens": sampling.new_tokens, "pad_token_id": 0}
    for start in range(0, len(prompts), ROWS):
        ids, mask = padded(prompts[start : start + ROWS], left=True)
        model.model._module.generate(ids, attention_mask=mask, eos_token_id=ends or None, **how)


@contextmanager
def endless(model: TracedModel) -> Iterator[None]:
    """No id ends a text of the model's inside."""
    nowhere = torch.tensor([], dtype=torch.long)
    config = model.model._module.generation_config
    with patch.object(TracedModel, "end_ids", nowhere), patch.object(config, "eos_token_id", None):
        yield


def ratios() -> dict[str, float]:
    """Return the speed of this project's generation as a multiple of transformers'."""
    mixed, replaced, equal, traced = seconds().values()
    return {
        "generation_over_transformers_mixed": mixed / replaced,
        "generation_over_transformers_equal": equal / traced,
    }
