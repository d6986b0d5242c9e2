"""What the steering page claims: a latent steers, by a least slope, and more steeply than the best of either control.

One latent that is picked for several categories is one finding, and one claim.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.answers.means import UNIT
from toolkit.experiments.steering import Toward
from toolkit.experiments.steering.study import Picked, Steered, SteeringStudy
from toolkit.statistics.estimates import Estimate, given_one, over_seeds
from toolkit.statistics.verdicts import Claim, Margin

LEAST_SLOPE = 0.5
"""Of ln(length) a unit of strength: from -.1 to .1, answers become at least a tenth longer, or shorter."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """One latent that was picked, for one category or for several."""

    latents: tuple[int, ...]
    toward: Toward
    groups: Mapping[str, Steered]

    @property
    def name(self) -> str:
        """The latent, and the categories that it was picked for."""
        return f"latent {' + '.join(map(str, self.latents))} makes answers {self.toward} ({', '.join(self.groups)})"

    @property
    def seeds(self) -> dict[int, Picked]:
        """What was picked of each crosscoder: of several categories' picks the steepest on development questions."""
        sign = next(iter(self.groups.values())).sign
        picks: dict[int, Picked] = {}
        for steered in self.groups.values():
            for seed, pick in steered.seeds.items():
                if seed not in picks or sign * _development(pick) > sign * _development(picks[seed]):
                    picks[seed] = pick
        return picks


def findings(study: SteeringStudy) -> list[Finding]:
    """The latents that were picked, each once for each way that it should steer."""
    groups: dict[tuple[tuple[int, ...], Toward], dict[str, Steered]] = {}
    for name, steered in study.groups.items():
        groups.setdefault((steered.latents, steered.toward), {})[name] = steered
    return [Finding(latents=latents, toward=toward, groups=of) for (latents, toward), of in groups.items()]


def claims(study: SteeringStudy) -> list[Claim]:
    """Return a claim for each finding; the interval of each margin contains how crosscoders and questions vary."""
    return [_claim(each, len(study.questions)) for each in findings(study)]


def _claim(finding: Finding, n: int) -> Claim:
    one = next(iter(finding.groups.values()))
    slopes = torch.stack([pick.slope for pick in finding.seeds.values()])
    steers = Margin(over="no steering", difference=seeds_mean(one.sign * slopes), least=LEAST_SLOPE)
    beyond = [
        Margin(over=best_of(kind, control), difference=seeds_mean(one.sign * (slopes - control.slope)))
        for kind, control in one.controls.items()
    ]
    return Claim(name=finding.name, effect=seeds_mean(slopes), margins=(steers, *beyond), n=n)


def best_of(kind: str, control: Picked) -> str:
    """What a control is called: the best of 16 random directions."""
    return f"the best of {len(control.development)} {kind}"


def seeds_mean(values: Float[Tensor, "seed question"]) -> Estimate:
    """Return the mean over seeds and questions; of one crosscoder alone it says so."""
    found = over_seeds(values, unit=UNIT)
    return given_one(found) if len(values) == 1 else found


def _development(pick: Picked) -> float:
    return float(pick.development[pick.direction].mean())
