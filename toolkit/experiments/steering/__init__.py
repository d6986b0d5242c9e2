"""How do answers change when a latent is added to the residual stream, or subtracted from it?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from toolkit.fields import ShortRepr
from toolkit.latents.choices import HESITATION
from toolkit.models.where import Where
from toolkit.outputs import STEERING_VECTORS, OutputFolder
from toolkit.ranges import Count, PositiveOrNone, Seed, check_ranges
from toolkit.settings.findings import CrosscoderChoice, FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice

Toward = Literal["longer", "shorter"]


@dataclass(frozen=True, kw_only=True, repr=False)
class SteeringSettings(ShortRepr):
    """Strengths at which directions are picked and tested."""

    strengths: tuple[float, ...] = (-0.2, -0.1, -0.05, -0.025, 0.025, 0.05, 0.1, 0.2)
    """In units of the mean residual norm; 0 is always run too."""
    slope_strengths: tuple[float, ...] = (-0.1, 0.1)
    """Strengths between which every slope is measured: to pick directions, to compare them, and for each seed."""

    def __post_init__(self) -> None:
        for strengths in (self.strengths, self.slope_strengths):
            if bad := [s for s in strengths if not math.isfinite(s) or s == 0]:
                raise ValueError(f"strength {bad[0]}: give finite numbers other than 0, which is always run")
            if len(set(strengths)) < 2:
                raise ValueError(f"strengths {strengths}: a slope needs at least two different ones")


@dataclass(frozen=True, kw_only=True, repr=False)
class SteeringConfig(ShortRepr):
    """Steer answers with latents, against controls picked on the same development questions."""

    latents: tuple[int, ...] = ()
    """Latents to steer with, all at once; default: the best candidate of --category."""
    category: str = HESITATION
    """Category whose latents are candidates: those with the largest lift where its words are predicted."""
    toward: Toward = "longer"
    """What adding a latent should do to answers; the candidate that does it most is picked."""
    aims: Annotated[Mapping[str, Toward], tyro.conf.Suppress] = field(default_factory=dict)
    """Several categories at once, and what the latents of each should do, instead of `category` and `toward`."""
    candidates: Count = 16
    """Latents to pick from, of each crosscoder; beside them stand at least as many random directions, and as many
    latents that fire as often."""
    strengths: tuple[float, ...] = SteeringSettings.strengths
    """Lengths of the added vector, as shares of the stream's mean norm; below 0 it is subtracted.
    Unsteered answers, 0, are always among them."""
    suppress: bool = False
    """Subtract only: take every strength as negative. Slopes are measured between -.1 and .1 nevertheless."""
    questions: Path | None = None
    """File of questions and answers, such as a line of {"question", "answer"} each; default: the shipped ones for this
    pair. Models other than the embedded pair are asked to put their answer within \\boxed{}."""
    development: int = 32
    """Number of questions on which directions are picked: the first ones of the file."""
    test: int = 96
    """Number of questions on which the picked directions are compared: the next ones."""
    temperature: PositiveOrNone = 0.6
    """Temperature of sampling: 0 is greedy, .6 is usual for R1 models. All arms use the same random seeds."""
    samples: Count = 1
    """Answers to each question in each arm."""
    new_tokens: Count = 320
    """Tokens after which an answer is cut."""
    edit_prompt: bool = False
    """Steer the prompt's positions too."""
    model: str = "distilled"
    """The model that answers: base or distilled."""
    tokens: Count = 65_536
    """Held-out tokens on which firing is counted."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: the paper's categories.
    Its self-reflection words count as hesitation; where it has none, the shipped ones do."""
    seed: Seed = 0
    """Seed of every draw: random directions, answers."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/steer"))
    crosscoder: CrosscoderChoice = CrosscoderChoice()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("development", "test"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 2")
        self.settings()

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("steering", others=(STEERING_VECTORS,))

    def settings(self) -> SteeringSettings:
        """Strengths at which directions are picked and tested."""
        strengths = {-abs(s) for s in self.strengths} if self.suppress else set(self.strengths)
        return SteeringSettings(strengths=tuple(sorted(strengths)))
