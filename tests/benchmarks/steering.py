"""What do arms of steered answers cost over one plain generation of as many rows?

The embedded distilled model answers 32 shipped questions in 8 arms, two ways that take turns in one run:
`answer_each`, which lays out prompts, shifts each arm's rows at the input of layer 3 and measures the answers; and one
unedited `generate_ids` of the 256 prompts. The shifts are zero and a question's seed is the same everywhere, so that
both write the same texts. Figures are medians of CPU time on one thread.
"""

from functools import cache

import torch
from timing import time_in_turn

from toolkit.answers.answering import Answerer, Writing, answer_each
from toolkit.answers.questions import PROMPTS, load_questions
from toolkit.interventions.edits import shift
from toolkit.models.model.sampling import Sampling
from toolkit.models.pair import ModelPair
from toolkit.models.text.chat import thinking_prompt
from toolkit.models.text.tokenizers import encode

ARMS, QUESTIONS, NEW_TOKENS, ROUNDS = 8, 32, 160, 3


@cache
def seconds() -> dict[str, float]:
    """Measure both ways once a process: CPU seconds for 256 answers."""
    model = ModelPair.from_pretrained("organism", where="cpu").distilled
    questions = load_questions(PROMPTS / "embedded.jsonl")[:QUESTIONS]
    writing = Writing(hesitation_ids=frozenset(), new_tokens=NEW_TOKENS)
    arms = [Answerer(model, shift(3, torch.zeros(model.d_model)))] * ARMS
    prompts = encode(model.tokenizer, [thinking_prompt(model.tokenizer, each.question) for each in questions])
    seeds = tuple(writing.seed_of(question, 0) for question in range(QUESTIONS))
    sampling = Sampling(new_tokens=NEW_TOKENS, temperature=writing.temperature, seeds=ARMS * seeds)
    plain = model.tokenizer.batch_decode(model.generate_ids(ARMS * prompts, sampling=sampling))
    assert plain == [text for arm in answer_each(arms, questions, writing).texts for text in arm]
    return time_in_turn(
        {
            "answers: one generation": lambda: model.generate_ids(ARMS * prompts, sampling=sampling),
            "answers: steered arms": lambda: answer_each(arms, questions, writing),
        },
        ROUNDS,
    )


def ratios() -> dict[str, float]:
    """Return the time of the steered arms as a multiple of the plain generation's."""
    plain, steered = seconds().values()
    return {"steering_arms_over_one_generation": steered / plain}
