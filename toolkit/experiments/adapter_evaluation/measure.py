"""An adapter on held-out text and as a model that answers, beside the base model, the hybrid and the distilled one."""

from dataclasses import dataclass
from pathlib import Path

import torch

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.opening import open_adapter
from toolkit.answers.answering import Answerer, Writing, answer_each
from toolkit.answers.questions import Question, instruction_to, load_questions, shipped_questions
from toolkit.experiments.adapter_evaluation import FEWEST_QUESTIONS, AdapterEvaluationConfig
from toolkit.experiments.adapter_evaluation.answers import MODES, ModeAnswers, answer_adapted, answer_base
from toolkit.experiments.adapter_evaluation.closeness import Closeness, Yardsticks
from toolkit.experiments.adapter_evaluation.sweep import Swept
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.control import is_embedded
from toolkit.harvest.tokens import TokenBatch
from toolkit.latents.categories import hesitation
from toolkit.models.model.generation_request import check_prompts
from toolkit.models.model.sampling import Sampling
from toolkit.models.text.chat import thinking_prompt
from toolkit.models.text.tokenizers import encode
from toolkit.training.streams import fitting_tokens

STREAMS_HELD = 2**28
"""Numbers of two models' streams that are held at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """All that is known of the adapter, and of those of a sweep."""

    closeness: Closeness
    yardsticks: Yardsticks
    questions: tuple[Question, ...]
    answers: ModeAnswers
    """Arms are all `MODES`."""
    asked_alike: bool
    """Whether the base model was asked with the same ids as the others."""
    swept: tuple[Swept, ...]
    """The adapter itself and those of the sweep, by L0; empty without a sweep."""


def measure(settings: AdapterEvaluationConfig, opened: AdapterRun) -> Measured:
    """Compare predictions and streams on held-out text, then ask all models the same questions.

    Raises `ValueError` for questions or text that cannot be used, and for an adapter of the sweep that does not fit.
    """
    adapted, questions = opened.models, open_questions(settings, opened)
    others = _others(settings, opened)
    batches = _batches(settings, opened)
    closeness = Closeness.of(adapted, batches)
    yardsticks = Yardsticks.of(adapted, batches, closeness, torch.Generator().manual_seed(settings.seed))
    writing = Writing(
        hesitation_ids=frozenset(hesitation(adapted.tokenizer).token_ids),
        new_tokens=settings.new_tokens,
        temperature=settings.temperature,
        samples=settings.samples,
        instruction=instruction_to(embedded=is_embedded(adapted)),
        seed=settings.seed,
    )
    answered = answer_adapted(adapted, questions, writing)
    swept = [Swept.of(opened.choice.run, closeness, answered)]
    for folder, other in others.items():
        answers = answer_each([Answerer(other.adapter)], questions, writing)
        swept.append(Swept.of(folder, Closeness.of(other, batches), answered.with_adapter(answers)))
    base, alike = answer_base(adapted, questions, writing, opened.where)
    return Measured(
        closeness=closeness,
        yardsticks=yardsticks,
        questions=tuple(questions),
        answers=ModeAnswers(modes=MODES, answers=base.beside(answered.answers)),
        asked_alike=alike,
        swept=tuple(sorted(swept, key=lambda each: each.l0.value)) if others else (),
    )


def _others(settings: AdapterEvaluationConfig, opened: AdapterRun) -> dict[Path, AdaptedModel]:
    """The adapters of the sweep over the same models."""
    allowed = settings.adapter.other_models
    return {folder: opened.models.with_adapter(open_adapter(folder), other_models=allowed) for folder in settings.sweep}


def open_questions(settings: AdapterEvaluationConfig, opened: AdapterRun) -> list[Question]:
    """The last questions of the file, perhaps fewer than asked for.

    Raises `ValueError` for fewer than two, and for answers that would be longer than the models' context.
    """
    path = settings.questions or shipped_questions(embedded=is_embedded(opened.models))
    questions = load_questions(path)
    if len(questions) < FEWEST_QUESTIONS:
        raise ValueError(f"{path} holds {len(questions)} question: give at least {FEWEST_QUESTIONS}")
    chosen = questions[-settings.test :]
    tokenizer, instruction = opened.models.tokenizer, instruction_to(embedded=is_embedded(opened.models))
    prompts = encode(tokenizer, [thinking_prompt(tokenizer, each.question, instruction=instruction) for each in chosen])
    check_prompts(prompts, Sampling(new_tokens=settings.new_tokens), opened.models.distilled.context)
    return chosen


def _batches(settings: AdapterEvaluationConfig, opened: AdapterRun) -> list[TokenBatch]:
    """Whole held-out documents, until there are enough tokens; small enough to hold two models' streams."""
    adapted = opened.models
    numbers = 2 * (adapted.n_layers + 1) * adapted.distilled.d_model
    stream = opened.tokens(batch_tokens=fitting_tokens(opened.text, STREAMS_HELD, numbers))
    found: list[TokenBatch] = []
    for batch in stream:
        found.append(batch)
        if sum(int(each.attention_mask.sum()) for each in found) >= settings.tokens:
            return found
    if not any(int(batch.attention_mask.sum(dim=1).max()) > 1 for batch in found):
        raise ValueError(f"{opened.text.data} holds no document of two tokens: give text to compare the models on")
    return found
