"""Lets every arm answer every question, freely and at budgets of thinking, and compares the arms."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.answers.answering import Answerer, Writing
from toolkit.answers.questions import Question
from toolkit.experiments.reasoning_evaluation.results import Measured


def measure_arms(
    arms: Mapping[str, Answerer],
    questions: Sequence[Question],
    writing: Writing,
    *,
    budgets: Sequence[int],
    kept: Path | None = None,
) -> Measured:
    """Answer every question in every arm, and again at every budget; the first arm is what others are compared with.

    `kept` is the file of all answers: those that it holds are not written again. `Answerer.fingerprint` must then say
    which model each arm is. Raises `ValueError` for a budget that is out of range, and for a file of other settings.
    """
    raise NotImplementedError
