"""Measures of answers as tables of arms and questions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.answers.records import AnswerRecord, Written


def table(
    records: Sequence[AnswerRecord], value: Callable[[AnswerRecord], float | bool | None]
) -> Float[Tensor, "question sample"]:
    """Return a value of each of one arm's answers; NaN where it is None, and where there is no answer."""
    questions, samples = (1 + max(getattr(each, name) for each in records) for name in ("question", "sample"))
    cells = torch.full((questions, samples), math.nan, dtype=torch.float64)
    for each in records:
        found = value(each)
        cells[each.question, each.sample] = math.nan if found is None else float(found)
    return cells


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

    @classmethod
    def of(cls, written: Sequence[Written], records: Sequence[AnswerRecord], arms: Sequence[str]) -> "Answers":
        """Return the tables of free answers, and of their records, in the order of the arms."""
        of_arm = [[each for each in records if each.arm == arm] for arm in arms]
        texts = {(each.arm, each.question): each.text for each in written if each.sample == 0}

        def means(value: Callable[[AnswerRecord], float | bool | None]) -> Tensor:
            return torch.stack([table(some, value).mean(dim=1) for some in of_arm])

        length = means(lambda each: each.length)
        return cls(
            texts=[[texts[arm, question] for question in range(length.shape[1])] for arm in arms],
            length=length,
            log_length=means(lambda each: each.log_length),
            hesitation=means(lambda each: each.hesitation),
            finished=means(lambda each: each.finished),
            correct=means(lambda each: each.correct),
        )

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
