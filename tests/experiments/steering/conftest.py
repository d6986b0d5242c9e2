"""A steering study on answers made by hand."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch

from toolkit.answers.answer_tables import Answers
from toolkit.answers.questions import Question
from toolkit.experiments.steering import Toward
from toolkit.experiments.steering.directions import Direction
from toolkit.experiments.steering.study import ALIKE, RANDOM, Picked, Steered, SteeringStudy

N = 20
STRENGTHS = (-2.0, -1.0, 1.0, 2.0)
SPREAD = torch.linspace(0.9, 1.1, N, dtype=torch.float64)  # of a mean of 1, so that there are intervals


def answers(lengths: Sequence[float], correct: Sequence[float] | None = None) -> Answers:
    """Answers of mean length `lengths` at each arm, of which the share `correct` is right: the first ones."""
    length = torch.tensor(lengths, dtype=torch.float64)[:, None] * SPREAD
    shares = torch.tensor(correct or [1.0] * len(lengths), dtype=torch.float64)
    right = (torch.arange(N) < (shares[:, None] * N).round()).double()
    return Answers(
        texts=[[f"answer {arm}"] * N for arm in range(len(lengths))],
        length=length,
        log_length=length.log(),
        hesitation=length / 10,
        finished=torch.ones_like(length),
        correct=torch.where(shares[:, None].isnan(), math.nan, right),
    )


def picked(seed: int | None, number: int, slope: float, *, among: int = 2, development: float | None = None) -> Picked:
    """A direction whose slope is `slope` on average, the steepest of `among`."""
    mean = slope if development is None else development
    of = {Direction(seed, (number + i,)): torch.full((3,), mean / (1 + i), dtype=torch.float64) for i in range(among)}
    return Picked(direction=Direction(seed, (number,)), turn=1.0, development=of, slope=slope * SPREAD)


def steered(
    *,
    lengths: Sequence[float] = (100.0,) * 4,
    random: Sequence[float] = (100.0,) * 4,
    toward: Toward = "longer",
    correct: Sequence[float] | None = None,
    slopes: Sequence[float] = (2.0, 1.9, 2.1),
    controls: tuple[float, float] = (0.5, 0.2),
    latent: int = 3,
) -> Steered:
    """One latent of each seed, beside the controls; it is always right where `correct` does not say otherwise."""
    return Steered(
        toward=toward,
        answers=answers(lengths, correct),
        random=answers(random),
        seeds={seed: picked(seed, latent + seed, slope) for seed, slope in enumerate(slopes)},
        controls={RANDOM: picked(None, 0, controls[0], among=16), ALIKE: picked(0, 40, controls[1], among=16)},
    )


def study(unsteered: float = 1.0, **groups: Steered) -> SteeringStudy:
    """The groups on questions that are answered with 100 tokens, the share `unsteered` rightly, where not steered."""
    return SteeringStudy(
        unsteered=answers([100.0], [unsteered]),
        groups=groups,
        strengths=STRENGTHS,
        slope_strengths=(-1.0, 1.0),
        questions=tuple(Question(question=f"{i}?", answer=None) for i in range(N)),
        development_questions=3,
    )


@pytest.fixture
def of_steering() -> Callable[..., Steered]:
    """Makes one group's answers."""
    return steered


@pytest.fixture
def of_study() -> Callable[..., SteeringStudy]:
    """Makes a study of groups."""
    return study
