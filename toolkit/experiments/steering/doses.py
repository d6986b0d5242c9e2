"""Measures of answers by strength, of the latent's and of the best random direction's."""

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.answers.means import means
from toolkit.experiments.steering.study import Steered, SteeringStudy
from toolkit.statistics.estimates import Estimate, given_one


@dataclass(frozen=True, kw_only=True)
class Dose:
    """Means over the questions at one strength, by measure; at 0 both arms are the unsteered answers."""

    strength: float
    latent: Mapping[str, Estimate]
    random: Mapping[str, Estimate]


def by_strength(steered: Steered, study: SteeringStudy) -> list[Dose]:
    """Both arms at every strength in rising order, 0 among them."""
    unsteered = means(study.unsteered, 0)
    doses = [
        Dose(
            strength=strength,
            latent=_of_one(means(steered.answers, arm)),
            random=means(steered.random, arm),
        )
        for arm, strength in enumerate(study.strengths)
    ]
    doses.append(Dose(strength=0.0, latent=unsteered, random=unsteered))
    return sorted(doses, key=lambda dose: dose.strength)


def _of_one(found: dict[str, Estimate]) -> dict[str, Estimate]:
    """Those of a latent, which is of one crosscoder."""
    return {measure: given_one(estimate) for measure, estimate in found.items()}
