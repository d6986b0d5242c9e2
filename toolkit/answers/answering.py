"""Answers of several models, or of one under several edits, to the same questions, with equal seeds in every arm."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.answers.questions import Question
from toolkit.answers.scores import AnswerScore, score_answer
from toolkit.models.model.edits import Change, Edit
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.text.chat import closing_ids, thinking_prompt
from toolkit.models.text.tokenizers import encode
from toolkit.tracking import track

ROWS = 256


class Answerer(NamedTuple):
    """An arm: a model that answers, as it is or under an edit of its stream."""

    model: TracedModel
    edit: Change | None = None
    fingerprint: str = ""
    """What changes with the model's weights alone, in a file that keeps answers; see `files.identity`."""


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
        """Return the seed of one answer, which is the same in every arm."""
        return (self.seed * 1_000_003 + question) * self.samples + sample


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Answers of every arm to every question; samples of a question are averaged."""

    texts: list[list[str]]
    """The first sample of each answer, [arm][question]."""
    length: Float[Tensor, "arm question"]
    """Tokens until `</think>`."""
    log_length: Float[Tensor, "arm question"]
    """Natural logarithm of the length, averaged over samples."""
    hesitation: Float[Tensor, "arm question"]
    """Hesitation tokens per 1,000."""
    finished: Float[Tensor, "arm question"]
    correct: Float[Tensor, "arm question"]
    """NaN where the answer is not known."""

    def slope(self, strengths: Sequence[float]) -> Float[Tensor, " question"]:
        """Least-squares slope of log length against strength, per question; the arms are `strengths`."""
        dose = torch.tensor(strengths, dtype=self.log_length.dtype)
        dose = dose - dose.mean()
        return (dose[:, None] * self.log_length).sum(dim=0) / dose.square().sum()

    def arms(self, chosen: Sequence[int]) -> "Answers":
        """Return some of the arms, in the order in which they are given."""
        which = list(chosen)
        return Answers(
            texts=[self.texts[arm] for arm in which],
            length=self.length[which],
            log_length=self.log_length[which],
            hesitation=self.hesitation[which],
            finished=self.finished[which],
            correct=self.correct[which],
        )

    def beside(self, other: "Answers") -> "Answers":
        """Return the arms of both, which answered the same questions."""
        return Answers(
            texts=[*self.texts, *other.texts],
            length=torch.cat([self.length, other.length]),
            log_length=torch.cat([self.log_length, other.log_length]),
            hesitation=torch.cat([self.hesitation, other.hesitation]),
            finished=torch.cat([self.finished, other.finished]),
            correct=torch.cat([self.correct, other.correct]),
        )


def answer_each(arms: Sequence[Answerer], questions: Sequence[Question], writing: Writing) -> Answers:
    """Answer every question in every arm; a question has the same random seed in all arms.

    Questions, samples and arms share batches of up to 256 rows, arms where they are one model's, without an edit or
    with edits that differ in their vectors alone. Each model's tokenizer lays out its prompts.
    """
    cells: list[Cell] = []
    texts: list[str] = []
    scores: list[AnswerScore] = []
    for alike in _alike(arms):
        model = arms[alike[0]].model
        prompts = encode(
            model.tokenizer,
            [thinking_prompt(model.tokenizer, q.question, instruction=writing.instruction) for q in questions],
        )
        # A batch's cost grows with its longest prompt and its number of seeds, which all arms of a question share.
        grid = [
            Cell(question, sample, arm)
            for question in sorted(range(len(questions)), key=lambda question: len(prompts[question]))
            for sample in range(writing.samples)
            for arm in alike
        ]
        written = _write(arms, prompts, grid, writing)
        said = model.tokenizer.batch_decode(written)
        cells += grid
        texts += said
        scores += _score(model, written, said, [questions[cell.question].answer for cell in grid], writing)
    return _collect(cells, texts, scores)


class Cell(NamedTuple):
    """The place of one answer."""

    question: int
    sample: int
    arm: int


def _alike(arms: Sequence[Answerer]) -> list[list[int]]:
    """The numbers of the arms, those together that can share batches."""
    found: dict[Hashable, list[int]] = {}
    for number, (model, edit, _) in enumerate(arms):
        kind = (edit.layer, edit.function, len(edit.operands)) if _is_of_rows(edit) else edit
        found.setdefault((id(model), kind), []).append(number)
    return list(found.values())


def _is_of_rows(edit: Change | None) -> TypeGuard[Edit]:
    """Whether an edit does the same to all rows, with vectors that could also be each row's own."""
    return (
        isinstance(edit, Edit) and edit.positions is None and all(each.shape[:-1] == (1, 1) for each in edit.operands)
    )


def _write(
    arms: Sequence[Answerer], prompts: Sequence[list[int]], grid: Sequence[Cell], writing: Writing
) -> list[list[int]]:
    written: list[list[int]] = []
    for start in track(range(0, len(grid), ROWS), "answering", "batches"):
        rows = grid[start : start + ROWS]
        sampling = Sampling(
            new_tokens=writing.new_tokens,
            temperature=writing.temperature,
            top_p=writing.top_p,
            seeds=tuple(writing.seed_of(cell.question, cell.sample) for cell in rows),
            edit_prompt=writing.edit_prompt,
        )
        written += arms[rows[0].arm].model.generate_ids(
            [prompts[cell.question] for cell in rows],
            edit=_together([arms[cell.arm].edit for cell in rows]),
            sampling=sampling,
        )
    return written


def _together(edits: Sequence[Change | None]) -> Change | None:
    """One edit for rows with these edits, which are alike."""
    first = edits[0]
    if not _is_of_rows(first):
        return first
    operands = zip(*(edit.operands for edit in edits if isinstance(edit, Edit)), strict=True)
    return replace(first, operands=tuple(torch.cat(each) for each in operands))


def _score(
    model: TracedModel, written: list[list[int]], texts: list[str], wanted: list[str | None], writing: Writing
) -> list[AnswerScore]:
    closing, ends = closing_ids(model.tokenizer), {end: model.tokenizer.decode([end]) for end in model.end_ids.tolist()}
    return [
        score_answer(
            row,
            text.removesuffix(ends.get(row[-1], "")),
            answer,
            hesitation_ids=writing.hesitation_ids,
            closing_ids=closing,
            end_ids=frozenset(ends),
        )
        for row, text, answer in zip(written, texts, wanted, strict=True)
    ]


def _collect(grid: Sequence[Cell], texts: Sequence[str], scores: Sequence[AnswerScore]) -> Answers:
    question, sample, arm = torch.tensor(grid).unbind(dim=1)
    samples, arms = int(sample.max()) + 1, int(arm.max()) + 1
    shape = (arms, len(grid) // (samples * arms), samples)

    def table(values: Sequence[float]) -> Tensor:
        cells = torch.empty(shape, dtype=torch.float64)
        cells[arm, question, sample] = torch.tensor(values, dtype=torch.float64)
        return cells.mean(dim=2)

    first = {(a, q): text for (q, s, a), text in zip(grid, texts, strict=True) if s == 0}
    return Answers(
        texts=[[first[a, q] for q in range(shape[1])] for a in range(arms)],
        length=table([float(score.length) for score in scores]),
        log_length=table([math.log(max(1, score.length)) for score in scores]),
        hesitation=table([score.hesitation for score in scores]),
        finished=table([float(score.finished) for score in scores]),
        correct=table([float("nan") if score.correct is None else float(score.correct) for score in scores]),
    )
