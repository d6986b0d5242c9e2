"""What the page claims, written before anything is measured, of the arms whose names say what they are."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.answers.means import UNIT
from toolkit.answers.records import AnswerRecord
from toolkit.experiments.reasoning_evaluation.arms import Arm, parse_arm
from toolkit.experiments.reasoning_evaluation.results import Measured
from toolkit.statistics.estimates import Estimate, mean
from toolkit.statistics.shares import change_of_share
from toolkit.statistics.verdicts import Claim, Margin

OTHERS = ("base", "control")
"""The models that the distilled one is claimed to surpass."""


def claims(found: Measured) -> list[Claim]:
    """Return all claims that can be made of these arms; an arm whose name is no arm's has none."""
    arms = _arms(found)
    return [*_accuracy_claims(found, arms), *_thinking_claims(found), *_steering_claims(found, arms)]


def _accuracy_claims(found: Measured, arms: list[Arm]) -> list[Claim]:
    """The distilled model is more often right than base, and than a control."""
    names = [arm.name for arm in arms]
    if "distilled" not in names or not _graded(found):
        return []
    return [
        _claim(f"distilled is more often right than {other}", [(other, _difference(found, "distilled", other))], found)
        for other in OTHERS
        if other in names
    ]


def _thinking_claims(found: Measured) -> list[Claim]:
    """The first arm is more often right after all its thinking than after the smallest budget of it."""
    arm = found.arms[found.first]
    if not arm.budget or not _graded(found):
        return []
    least = arm.budget[0].tokens
    forced = {(each.question, each.sample): each for each in arm.forced if each.budget == least}
    stopped = tuple(forced.get((each.question, each.sample), each) for each in arm.records)
    gained = _by_question(arm.records, _right) - _by_question(stopped, _right)
    over = f"after {least:,} tokens of thinking" if least > 1 else "after one token of thinking"
    return [_claim(f"{found.first} is more often right after all its thinking", [(over, _share(gained, found))], found)]


def _steering_claims(found: Measured, arms: list[Arm]) -> list[Claim]:
    """A latent that is added makes answers longer, and by more than each random direction that is as long."""
    made = []
    for arm in arms:
        if len(arm.edits) != 1 or arm.edits[0].verb != "steer" or arm.edits[0].amount <= 0:
            continue
        alike = [each for each in arms if (each.model, each.without) == (arm.model, arm.without)]
        unsteered = [each.name for each in alike if not each.edits]
        random = [
            each.name
            for each in alike
            if [(edit.verb, edit.amount) for edit in each.edits] == [("random", arm.edits[0].amount)]
        ]
        if unsteered and random:
            margins = [(other, _lengthened(found, arm.name, other)) for other in (*unsteered, *random)]
            made.append(_claim(f"{arm.name} thinks longer than unsteered, and than random directions", margins, found))
    return made


def _claim(name: str, margins: list[tuple[str, Estimate]], found: Measured) -> Claim:
    return Claim(
        name=name,
        effect=margins[0][1],
        margins=tuple(Margin(over=over, difference=difference) for over, difference in margins),
        n=len(found.questions),
    )


def _arms(found: Measured) -> list[Arm]:
    parsed = []
    for name in found.arms:
        try:
            arm = parse_arm(name)
        except ValueError:  # in Python an arm may have any name
            continue
        parsed += [arm] if arm.name == name else []
    return parsed


def _graded(found: Measured) -> bool:
    return any(any(arm.verdicts.values()) for arm in found.arms.values())


def _difference(found: Measured, arm: str, less: str) -> Estimate:
    """How much more often one arm is right, paired by question."""
    of_arm, of_less = (_by_question(found.arms[name].records, _right) for name in (arm, less))
    return _share(of_arm - of_less, found)


def _share(changes: Tensor, found: Measured) -> Estimate:
    return change_of_share(changes, unit=UNIT) if found.samples == 1 else mean(changes, unit=UNIT)


def _lengthened(found: Measured, arm: str, less: str) -> Estimate:
    """By how much one arm's ln(length) is larger, paired by question."""
    of_arm, of_less = (_by_question(found.arms[name].records, _log_length) for name in (arm, less))
    return mean(of_arm - of_less, unit=UNIT)


def _right(record: AnswerRecord) -> float:
    return math.nan if record.correct is None else float(record.correct)


def _log_length(record: AnswerRecord) -> float:
    return math.log(max(1, record.length))


def _by_question(
    records: tuple[AnswerRecord, ...], value: Callable[[AnswerRecord], float]
) -> Float[Tensor, " question"]:
    """The mean over samples of each question's answers."""
    sums: dict[int, list[float]] = {}
    for record in records:
        sums.setdefault(record.question, []).append(value(record))
    return torch.tensor([sum(sums[each]) / len(sums[each]) for each in sorted(sums)], dtype=torch.float64)
