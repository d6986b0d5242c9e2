"""What the page claims, written before anything is measured, of the arms whose names say what they are."""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from toolkit.answers.answer_tables import table
from toolkit.answers.budgets import correct_at
from toolkit.answers.means import UNIT
from toolkit.experiments.reasoning_evaluation.arms import Arm, parse_arm
from toolkit.experiments.reasoning_evaluation.results import Measured
from toolkit.experiments.reasoning_evaluation.study import VALUES, difference
from toolkit.formatting import counted
from toolkit.statistics.estimates import Estimate, mean
from toolkit.statistics.verdicts import Claim, Margin

ACCURACY = "accuracy"
OTHERS = ("base", "control")
"""The models that the distilled one is claimed to surpass, however they are asked."""


def claims(found: Measured) -> list[Claim]:
    """Return all claims that can be made of these arms; an arm whose name is no arm's has none."""
    arms = _arms(found)
    return [*_accuracy_claims(found, arms), *_thinking_claims(found), *_steering_claims(found, arms)]


def _accuracy_claims(found: Measured, arms: list[Arm]) -> list[Claim]:
    """The distilled model is more often right than base, and than a control, whichever way these are asked."""
    if "distilled" not in found.arms or not _graded(found):
        return []
    ways = {other: [arm.name for arm in arms if arm.model == other and not arm.edits] for other in OTHERS}
    right = _right(found, "distilled")
    return [
        _claim(
            f"distilled is more often right than {other}",
            [(name, difference(ACCURACY, right - _right(found, name))) for name in names],
            found,
        )
        for other, names in ways.items()
        if names
    ]


def _thinking_claims(found: Measured) -> list[Claim]:
    """The first arm is more often right after all its thinking than after the smallest budget of it."""
    arm = found.arms[found.first]
    if not arm.budget or not _graded(found):
        return []
    least = arm.budget[0].tokens
    gained = _right(found, found.first) - correct_at(arm.records, arm.forced, least)
    over = f"after {counted(least, 'token')} of thinking"
    name = f"{found.first} is more often right after all its thinking"
    return [_claim(name, [(over, difference(ACCURACY, gained))], found)]


def _steering_claims(found: Measured, arms: list[Arm]) -> list[Claim]:
    """A latent that is added makes answers longer, and by more than each random direction that is as long."""
    made = []
    for arm in arms:
        if len(arm.edits) != 1 or arm.edits[0].verb != "steer" or arm.edits[0].amount <= 0:
            continue
        alike = [each for each in arms if replace(each, name=arm.name, edits=arm.edits) == arm]
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


def _right(found: Measured, arm: str) -> Float[Tensor, "question sample"]:
    return table(found.arms[arm].records, VALUES[ACCURACY])


def _lengthened(found: Measured, arm: str, less: str) -> Estimate:
    """By how much one arm's ln(length) is larger, paired by question."""
    of_arm, of_less = (table(found.arms[name].records, lambda each: each.log_length) for name in (arm, less))
    return mean((of_arm - of_less).mean(dim=1), unit=UNIT)
