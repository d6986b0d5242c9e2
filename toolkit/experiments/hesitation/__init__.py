"""Which latents of an adapter make a model hesitate: does it need them, and do they suffice?"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import OutputFolder
from toolkit.ranges import Count, PositiveOrNone, Seed, ShareBelowOne, check_ranges
from toolkit.settings.adapters import AdapterChoice
from toolkit.settings.findings import FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice

Rule = Literal["attribution", "lens"]


@dataclass(frozen=True, kw_only=True, repr=False)
class HesitationConfig(ShortRepr):
    """Choose hesitation latents on held-out text; take them out, add them, and transfer them on problems."""

    rule: Rule = "attribution"
    """What makes an output latent: attribution to hesitation words where they are predicted, or the logit lens alone,
    which says what a latent's row promotes, and not whether it is active where that matters."""
    quantile: ShareBelowOne = 0.99
    """Quantile of the null that a latent's score must exceed. If all rows were random directions, n · (1 − quantile) of
    n latents would."""
    null_draws: Count = 20
    """Random directions for each latent, of its row's length, that the null consists of."""
    control_draws: Count = 3
    """Draws of random latents, and of matched ones: as many each time as there are hesitation latents."""
    transfer: float = -0.5
    """Factor of what latents add to the distilled model; at −1 a 7B model's answers were incoherent (Hu et al. 2026).
    """
    tokens: Count = 65_536
    """Held-out tokens on which latents are chosen."""
    questions: Path | None = None
    """File of questions and answers, such as a line of {"question", "answer"} each; default: the shipped ones for this
    pair. Models other than the embedded pair are asked to put their answer within \\boxed{}."""
    test: int = 96
    """Number of questions that are answered: those behind the first 32, on which other experiments pick what they test.
    """
    temperature: PositiveOrNone = 0.0
    """Temperature of sampling: 0 is greedy, .6 is usual for R1 models. All arms use the same random seeds."""
    samples: Count = 1
    """Answers to each question in each arm."""
    new_tokens: Count = 320
    """Tokens after which an answer is cut."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: the paper's categories.
    Its self-reflection words count as hesitation; where it has none, the shipped ones do."""
    seed: Seed = 0
    """Seed of every draw: null, controls, answers."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/hesitation"))
    adapter: AdapterChoice = AdapterChoice()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.test < 2:
            raise ValueError(f"test {self.test}: must be at least 2")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"samples {self.samples}: greedy answers are all alike: give a temperature above 0")
        if not math.isfinite(self.transfer) or self.transfer == 0:
            raise ValueError(f"transfer {self.transfer}: give a finite factor other than 0, such as -0.5")

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("hesitation")
