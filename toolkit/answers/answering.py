"""Answers of several models, or of one under several edits, to the same questions, with equal seeds in every arm."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeGuard

import torch

from toolkit.answers.answer_tables import Answers
from toolkit.answers.questions import Question
from toolkit.answers.records import Written
from toolkit.answers.scores import Marks, score_each
from toolkit.models.model.edits import Change, Edit
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.text.chat import thinking_prompt
from toolkit.models.text.tokenizers import encode
from toolkit.organism.base_text import solution_prompt
from toolkit.tracking import track

ROWS = 256
SEEDS = 2**52
"""More seeds of a question's first answer than there are."""


class Answerer(NamedTuple):
    """An arm: a model that answers, as it is or under an edit of its stream."""

    model: TracedModel
    edit: Change | None = None
    fingerprint: str = ""
    """What changes with the model's weights alone, in a file that keeps answers; see `files.identity`."""
    plainly: bool = False
    """Whether it is asked for a worked solution in plain text, as before distillation, without a chat and `<think>`."""

    def prompt(self, question: str, instruction: str) -> str:
        """Lay a question out for the model."""
        if self.plainly:
            return solution_prompt(f"{question}\n\n{instruction}" if instruction else question)
        return thinking_prompt(self.model.tokenizer, question, instruction=instruction)


@dataclass(frozen=True, kw_only=True)
class Writing:
    """Settings of how answers are generated and measured."""

    hesitation_ids: frozenset[int]
    """Tokens that count as hesitation."""
    new_tokens: int = 320
    """Tokens after which an answer is cut."""
    temperature: float = 0.6
    """Temperature of sampling; 0 is greedy."""
    top_p: float = 1.0
    """Tokens are drawn from the likeliest that together reach this probability; 1 takes all."""
    samples: int = 1
    """Answers to a question in an arm, with different seeds; one suffices when greedy."""
    edit_prompt: bool = False
    """Edit the prompt's positions too."""
    instruction: str = ""
    """Stands below each question; where it asks for a `\\boxed{}`, only what stands in one counts as an answer."""
    seed: int = 0

    def seed_of(self, question: int, sample: int) -> int:
        """Return the seed of one answer, which is the same in every arm, however many samples there are."""
        return self.seed * 1_000_003 + question + sample * SEEDS

    @property
    def facts(self) -> dict[str, bool | int | float | str]:
        """What decides how an answer goes on, by name; chance has no part in greedy ones."""
        drawn = {"top_p": self.top_p, "seed": self.seed} if self.temperature else {}
        names = ("new_tokens", "temperature", "edit_prompt", "instruction")
        return {name: getattr(self, name) for name in names} | drawn

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn, but for the seeds."""
        return Sampling(
            new_tokens=self.new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            edit_prompt=self.edit_prompt,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """An answer that is to be written."""

    arm: str
    question: int
    sample: int
    prompt: Sequence[int]
    seed: int
    begun: Sequence[int] = ()
    """What of the answer stands already."""
    budget: int | None = None
    """Tokens of thinking after which the answer is forced."""

    def written(self, token_ids: Sequence[int], text: str) -> Written:
        """What was written for it."""
        return Written(
            arm=self.arm,
            question=self.question,
            sample=self.sample,
            token_ids=tuple(token_ids),
            text=text,
            budget=self.budget,
        )


def answer_each(arms: Sequence[Answerer], questions: Sequence[Question], writing: Writing) -> Answers:
    """Answer every question in every arm; a question has the same random seed in all arms.

    Questions, samples and arms share batches of up to 256 rows, arms where they are one model's, without an edit or
    with edits that differ in their vectors alone. Each model's tokenizer lays out its prompts.
    """
    named = {str(number): arm for number, arm in enumerate(arms)}
    written = [each for _, each in write_each(named, free_rows(named, questions, writing), writing.sampling)]
    marks = {name: marks_of(arm, writing.hesitation_ids) for name, arm in named.items()}
    wanted = [each.answer for each in questions]
    return Answers.of(written, score_each(written, marks, wanted, instruction=writing.instruction), list(named))


def free_rows(arms: Mapping[str, Answerer], questions: Sequence[Question], writing: Writing) -> list[Row]:
    """Return every answer that is to be written, `samples` to each question in each arm."""
    layouts = {_layout(arm): arm for arm in arms.values()}
    prompts = {
        layout: encode(arm.model.tokenizer, [arm.prompt(each.question, writing.instruction) for each in questions])
        for layout, arm in layouts.items()
    }
    return [
        Row(
            arm=name,
            question=question,
            sample=sample,
            prompt=prompts[_layout(arm)][question],
            seed=writing.seed_of(question, sample),
        )
        for name, arm in arms.items()
        for question in range(len(questions))
        for sample in range(writing.samples)
    ]


def _layout(arm: Answerer) -> tuple[int, bool]:
    """Arms of one layout have the same prompts."""
    return id(arm.model.tokenizer), arm.plainly


def marks_of(arm: Answerer, hesitation_ids: frozenset[int]) -> Marks:
    """The marks of an arm's answers; one that is asked plainly writes no thinking, and its text is all answer."""
    marks = Marks.of(arm.model, hesitation_ids)
    return replace(marks, closing=()) if arm.plainly else marks


def write_each(arms: Mapping[str, Answerer], rows: Sequence[Row], sampling: Sampling) -> Iterator[tuple[Row, Written]]:
    """Write answers, and yield each as soon as it has ended; arms that are alike share batches."""
    for alike in _alike(arms):
        # Rows of like length waste little padding, and rows of one seed share its noise.
        some = sorted((row for row in rows if row.arm in alike), key=lambda row: (_length(row), row.seed))
        if not some:
            continue
        model = arms[alike[0]].model
        ended = model.generate_each(
            [row.prompt for row in some],
            begun=[row.begun for row in some] if any(row.begun for row in some) else (),
            edit=_together([arms[row.arm].edit for row in some]),
            sampling=replace(sampling, seeds=tuple(row.seed for row in some)),
            rows=ROWS,
        )
        for number, token_ids in track(ended, "answering", "answers", total=len(some)):
            yield some[number], some[number].written(token_ids, model.tokenizer.decode(token_ids))


def _length(row: Row) -> int:
    return len(row.prompt) + len(row.begun)


def _alike(arms: Mapping[str, Answerer]) -> list[list[str]]:
    """The names of the arms, those together that can share batches."""
    found: dict[Hashable, list[str]] = {}
    for name, arm in arms.items():
        model, edit = arm.model, arm.edit
        kind = (edit.layer, edit.function, len(edit.operands)) if _is_of_rows(edit) else edit
        found.setdefault((id(model), kind), []).append(name)
    return list(found.values())


def _is_of_rows(edit: Change | None) -> TypeGuard[Edit]:
    """Whether an edit does the same to all rows, with vectors that could also be each row's own."""
    return (
        isinstance(edit, Edit) and edit.positions is None and all(each.shape[:-1] == (1, 1) for each in edit.operands)
    )


def _together(edits: Sequence[Change | None]) -> Change | None:
    """One edit for rows with these edits, which are alike."""
    first = edits[0]
    if not _is_of_rows(first):
        return first
    operands = zip(*(edit.operands for edit in edits if isinstance(edit, Edit)), strict=True)
    return replace(first, operands=tuple(torch.cat(each) for each in operands))
