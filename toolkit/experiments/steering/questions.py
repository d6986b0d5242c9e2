"""The questions that steered models answer: some to pick directions on, others to test them on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from toolkit.answers.questions import Question, instruction_to, load_questions, shipped_questions
from toolkit.experiments.control import is_embedded
from toolkit.models.model_set import ModelSet
from toolkit.models.text.chat import thinking_prompt
from toolkit.models.text.tokenizers import encode


@runtime_checkable
class Asking(Protocol):
    """Settings that say which model is asked what."""

    @property
    def questions(self) -> Path | None:
        """File of questions; None for the shipped ones."""

    @property
    def development(self) -> int:
        """Number of questions to pick on."""

    @property
    def test(self) -> int:
        """Number of questions to test on."""

    @property
    def model(self) -> str:
        """Name of the model that answers."""


def open_questions(settings: Asking, models: ModelSet) -> tuple[list[Question], list[Question]]:
    """Questions to pick directions on, and others to test them on, perhaps fewer than asked for.

    Raises `ValueError` for a model that does not exist or reads the questions as other ids than the last model, and
    where fewer than two questions are left to test on.
    """
    path = settings.questions or shipped_questions(embedded=is_embedded(models))
    questions = load_questions(path)
    development, rest = questions[: settings.development], questions[settings.development :]
    if len(rest) < 2:
        raise ValueError(
            f"{path} holds {len(questions)} questions, and --development {settings.development} leaves {len(rest)} to"
            " test on, where two are needed: give more questions or a lower --development"
        )
    test = rest[: settings.test]
    if settings.model not in models.names:
        raise ValueError(f"--model {settings.model}: no model is called that: choose from {', '.join(models.names)}")
    if settings.model != models.names[-1]:
        check_prompts(models, [*development, *test])
    return development, test


def check_prompts(models: ModelSet, questions: Sequence[Question]) -> None:
    """Raise `ValueError` for a question that, laid out, has ids which mean different things to the models.

    The tokenizer is the last model's.
    """
    tokenizer, instruction = models.tokenizer, instruction_to(embedded=is_embedded(models))
    prompts = [thinking_prompt(tokenizer, each.question, instruction=instruction) for each in questions]
    for row in encode(tokenizer, prompts):
        models.check_ids(torch.tensor([row]), torch.ones(1, len(row), dtype=torch.long))
