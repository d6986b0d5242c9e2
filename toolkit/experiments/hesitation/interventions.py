"""What answers become when latents are taken out, added to the hybrid, or transferred to the distilled model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.modes import Latent
from toolkit.answers.answer_tables import Answers
from toolkit.answers.answering import Answerer, Writing, answer_each
from toolkit.answers.means import SHARES, UNIT, share_of_questions
from toolkit.answers.questions import Question
from toolkit.experiments.hesitation import HesitationConfig
from toolkit.experiments.hesitation.choosing import HesitationLatents
from toolkit.experiments.hesitation.study import matched_arm, random_arm
from toolkit.leaving_out import TooFewError, measurable
from toolkit.models.model.traced_model import TracedModel
from toolkit.statistics.estimates import Estimate, over_seeds
from toolkit.statistics.shares import change_of_share

Latents = tuple[Latent, ...]
Intervention = Literal["off", "added", "transfer"]
UNCHANGED: dict[Intervention, str] = {"off": "adapter", "added": "hybrid", "transfer": "distilled"}
"""The mode that each intervention changes."""
RANDOM, MATCHED = "random", "matched"


@dataclass(frozen=True, kw_only=True, eq=False)
class Intervened:
    """Answers of one mode, unchanged and under each arm's latents."""

    unchanged: Answers
    arms: Mapping[str, Answers]
    """By arm; what a `Answers` calls an arm is here a draw of the arm's latents."""

    def values(self, measure: str, arm: str) -> Float[Tensor, "draw question"]:
        """One measure, by its name in `Answers`."""
        found: Tensor = getattr(self.arms[arm], measure)
        return found

    def mean(self, measure: str, arm: str) -> Estimate:
        """The mean over draws and questions; its interval contains how both vary."""
        return mean_of_draws(self.values(measure, arm), measure)

    def change(self, measure: str, arm: str) -> Estimate:
        """The mean change from the unchanged answers to the same questions."""
        changes = self.values(measure, arm) - getattr(self.unchanged, measure)
        if measure in SHARES and len(changes) == 1:
            return change_of_share(changes[0], unit=UNIT)
        return over_seeds(changes, unit=UNIT)


def mean_of_draws(values: Float[Tensor, "draw question"], measure: str) -> Estimate:
    """Return the mean of a measure of answers over draws and questions."""
    if measure in SHARES and len(values) == 1:
        return share_of_questions(values[0])
    return over_seeds(values, unit=UNIT)


def draw_arms(
    found: HesitationLatents, settings: HesitationConfig
) -> tuple[dict[str, tuple[Latents, ...]], dict[str, str]]:
    """Return the draws of each arm's latents, and why an arm has none, by name.

    Random and matched latents are as many as output latents and template latents together.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    makers: dict[str, Callable[[], Latents]] = {
        "output": lambda: found.output.latents,
        "template": lambda: found.template.latents,
        "both": lambda: found.both,
        RANDOM: lambda: random_arm(found.both, found.alive, generator),
        MATCHED: lambda: matched_arm(found.both, found.added, found.alive, generator),
    }

    def drawn(arm: str) -> tuple[Latents, ...]:
        n_draws = settings.control_draws if arm in (RANDOM, MATCHED) else 1
        draws = tuple(makers[arm]() for _ in range(n_draws))
        if not draws[0]:
            of = arm if arm in ("output", "template") else "hesitation"
            raise TooFewError(
                f"no {of} latent is beyond the null: lower --quantile, or read more --tokens to choose latents on"
            )
        return draws

    return measurable(makers, drawn)


def intervene(
    models: AdaptedModel,
    arms: Mapping[str, Sequence[Latents]],
    questions: Sequence[Question],
    writing: Writing,
    *,
    transfer: float,
) -> dict[Intervention, Intervened]:
    """Answer all questions in every arm of every intervention, and unchanged."""
    ways: dict[Intervention, Callable[[Iterable[Latent]], TracedModel]] = {
        "off": models.without,
        "added": lambda latents: models.with_latents(latents, mlp="base"),
        "transfer": lambda latents: models.with_latents(latents, mlp="distilled", scale=transfer),
    }
    unchanged = {"off": models.adapter, "added": models.hybrid, "transfer": models.distilled}
    # Arms can be one set of latents, as where no latent is a template latent.
    different = list(dict.fromkeys(frozenset(draw) for draws in arms.values() for draw in draws))
    asked = [model for name, way in ways.items() for model in (unchanged[name], *map(way, different))]
    answers = answer_each([*map(Answerer, asked)], questions, writing)
    width = 1 + len(different)
    return {
        name: Intervened(
            unchanged=answers.arms([place * width]),
            arms={
                arm: answers.arms([place * width + 1 + different.index(frozenset(draw)) for draw in draws])
                for arm, draws in arms.items()
            },
        )
        for place, name in enumerate(ways)
    }
