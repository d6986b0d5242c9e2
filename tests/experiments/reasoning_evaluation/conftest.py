"""Answers made by hand, of any number of arms, as a reasoning evaluation finds them."""

import math
from collections.abc import Callable, Mapping
from typing import get_args

import pytest
import torch

from toolkit.answers.budgets import AtBudget
from toolkit.answers.questions import Question
from toolkit.answers.records import AnswerRecord, Verdict
from toolkit.experiments.reasoning_evaluation.results import MEASURES, ArmResults, Measured, Paired
from toolkit.statistics.estimates import Estimate, mean

N, LIMIT = 24, 320
BUDGETS = (40, 80)


def record(arm: str, question: int, *, right: bool, length: int, **more: object) -> AnswerRecord:
    """One answer that ended; `more` changes it."""
    told = {
        "text": f"{arm} thinks</think> The answer is {question}.",
        "tokens": length + 8,
        "thought": length,
        "hesitations": 1,
        "finished": True,
        "said": str(question),
        "verdict": "right" if right else "wrong",
    }
    return AnswerRecord(arm=arm, question=question, sample=0, **(told | more))  # type: ignore[arg-type]


def of_arm(arm: str, rights: int, length: float) -> ArmResults:
    """An arm that answers the first `rights` questions rightly, after `length` tokens or so; stopped, fewer."""
    lengths = [round(length * (0.9 + 0.2 * (7 * i % N) / N)) for i in range(N)]
    records = tuple(record(arm, i, right=i < rights, length=lengths[i]) for i in range(N))
    forced = tuple(
        record(arm, i, right=i < rights * budget / 160, length=budget, budget=budget)
        for i in range(N)
        for budget in BUDGETS
        if lengths[i] > budget
    )
    share = mean(torch.tensor([float(each.verdict == "right") for each in records]), unit="question")
    values = dict.fromkeys(MEASURES, Estimate(0.0)) | {"accuracy": share, "length_median": Estimate(float(length))}
    return ArmResults(
        records=records,
        forced=forced,
        estimates=values,
        budget=tuple(
            AtBudget(tokens=budget, accuracy=Estimate(rights * budget / 160 / N), forced=N, answers=N)
            for budget in BUDGETS
        ),
        length_by_verdict={"right": Estimate(float(length))},
        verdicts=dict.fromkeys(get_args(Verdict), 0) | {"right": rights, "wrong": N - rights},
    )


@pytest.fixture
def measured() -> Callable[..., Measured]:
    """Makes what was found of arms, by name the number of right answers and the usual length."""

    def make(arms: Mapping[str, tuple[int, float]], **more: object) -> Measured:
        names = list(arms)
        paired = Paired(
            estimates=dict.fromkeys(MEASURES, Estimate(0.25, 0.125, 0.375)),
            log_length=Estimate(math.log(2)),
            budget=tuple((budget, Estimate(0.5)) for budget in BUDGETS),
        )
        told = {"samples": 1, "new_tokens": LIMIT, "side_by_side": (0, N - 1)} | more
        return Measured(
            questions=tuple(Question(question=f"What is {i}?", answer=str(i)) for i in range(N)),
            arms={name: of_arm(name, *arms[name]) for name in names},
            paired=dict.fromkeys(names[1:], paired),
            **told,  # type: ignore[arg-type]
        )

    return make
