"""Measures of answers by strength, of the latent's and of the best random direction's."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from toolkit.experiments.steering.costs import UNIT
from toolkit.experiments.steering.study import Steered, SteeringStudy
from toolkit.interventions.answering import Answers
from toolkit.statistics.estimates import FEWEST_GROUPS, Estimate, given_one, mean
from toolkit.statistics.shares import share

MEASURES = {"length": "length", "correct": "accuracy", "hesitation": "hesitation_per_1k", "finished": "finished"}
"""The measures of answers, with their names in the results."""
SHARES = ("correct", "finished")


@dataclass(frozen=True, kw_only=True)
class Dose:
    """Means over the questions at one strength, by measure; at 0 both arms are the unsteered answers."""

    strength: float
    latent: Mapping[str, Estimate]
    random: Mapping[str, Estimate]


def by_strength(steered: Steered, study: SteeringStudy) -> list[Dose]:
    """Both arms at every strength in rising order, 0 among them."""
    arms = [(s, steered.answers.arms([i]), steered.random.arms([i])) for i, s in enumerate(study.strengths)]
    arms.append((0.0, study.unsteered, study.unsteered))
    return [
        Dose(strength=strength, latent=_of_one(_means(latent)) if strength else _means(latent), random=_means(random))
        for strength, latent, random in sorted(arms, key=lambda arm: arm[0])
    ]


def _means(answers: Answers) -> dict[str, Estimate]:
    """Of one arm."""
    return {
        measure: share_of_questions(getattr(answers, measure)[0])
        if measure in SHARES
        else mean(getattr(answers, measure)[0], unit=UNIT)
        for measure in MEASURES
    }


def _of_one(means: dict[str, Estimate]) -> dict[str, Estimate]:
    """Those of a latent, which is of one crosscoder."""
    return {measure: given_one(estimate) for measure, estimate in means.items()}


def share_of_questions(values: Float[Tensor, " question"]) -> Estimate:
    """Return the share of questions with its interval, NaN left out; none below 8 questions.

    Several samples of a question are averaged before, and are no trials any more: theirs is a mean over questions.
    """
    known = values[~values.isnan()]
    trials = bool(((known == 0) | (known == 1)).all())
    return share(known) if trials and len(known) >= FEWEST_GROUPS else mean(known, unit=UNIT)
