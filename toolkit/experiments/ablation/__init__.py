"""What happens to a category's words when its latents are taken out of the models?"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from toolkit.fields import ShortRepr
from toolkit.latents.choices import Method, Place, Positions, Rule
from toolkit.models.where import Where
from toolkit.outputs import OutputFolder
from toolkit.ranges import Count, PositiveOrNone, Seed, check_ranges
from toolkit.settings.findings import CrosscoderChoice, FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice

PAPER: dict[str, Any] = {"positions": "prefix", "select": "quantile", "place": "token", "undecided": (0.0, 1.0)}

FEW_DRAWS = 2
"""Draws of each control at shares that are not the reference."""

GIVEN = "given"
"""What results call latents that were named, instead of the share that was chosen."""


def share_name(share: float) -> str:
    """What results call the latents of a share: 0.02 is "2 %"."""
    return f"{100 * share:g} %"


@dataclass(frozen=True, kw_only=True, repr=False)
class AblationSettings(ShortRepr):
    """Which latents are taken out, where, and what that is compared with."""

    shares: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
    """Shares of the alive latents to take out, the best first; fewer where fewer can be chosen."""
    reference: float = 0.02
    """The one of these shares that claims, headline, histogram and off-target matrix are about."""
    select: Rule = "lift"
    """Rank latents by lift, P(fire | category) / P(fire), by rate, P(fire | category), or by the paper's quantile."""
    place: Place = "predicting"
    """Count firings where the word is predicted, or on the word's own token (the paper)."""
    min_nrn: float = 0.5
    """Choose only among latents whose NRN is above this; above 0.5, the distilled model has the larger decoder row."""
    least_lift: PositiveOrNone = 2.0
    """Choose only latents that fire at least this many times as often at the category's words as on all tokens.
    Below 2, a firing is more likely at other tokens than by the category. The paper's quantile knows no lift."""
    targets: int = 100
    """Positions to measure for each category, drawn without replacement."""
    undecided: tuple[float, float] = (0.05, 0.9)
    """Measure only words to which the distilled model gives a probability in this range; 0 1 takes all (the paper)."""
    positions: Positions = "predict"
    """Take latents out where the word is predicted (predict), at every token before the word except the first
    (prefix, as the paper does), or at the first token too (all)."""
    paper: bool = False
    """Follow the paper: quantile on the word's token, whole prefix, all occurrences, and the reconstruction spliced in.
    Effects are then measured against the reconstruction without ablation."""
    latents: tuple[int, ...] = ()
    """Take these out of every category's words, instead of choosing by category; shares mean nothing then."""
    control_draws: int = 20
    """Draws of each control at the reference share; the best of them is what the chosen latents must exceed.
    At other shares there are at most two."""
    seed: Seed = 0
    """Seed of every draw: positions, controls."""

    def method(self, layer: int | None) -> Method:
        """Where the latents are taken out, and of what; `layer` is needed for a crosscoder of several."""
        return Method(positions=self.positions, spliced=self.paper, layer=layer)

    @property
    def reference_name(self) -> str:
        """What results call the latents that the headline is about."""
        return GIVEN if self.latents else share_name(self.reference)

    def __post_init__(self) -> None:
        check_ranges(self)
        defaults = {each.name: each.default for each in fields(self)}
        for name, value in PAPER.items() if self.paper else ():
            if getattr(self, name) not in (value, defaults[name]):
                raise ValueError(f"--paper sets --{name} to {value}, and {getattr(self, name)} is given: leave one out")
            object.__setattr__(self, name, value)
        if self.reference not in self.shares:
            raise ValueError(f"the reference share {self.reference} is not among the shares {self.shares}: add it")
        for name, least in (("targets", 2), ("control_draws", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least {least}")


@dataclass(frozen=True, kw_only=True, repr=False)
class AblationConfig(AblationSettings):
    """Take a category's latents out of both models and measure its words' logits, against controls that can fail it."""

    tokens: Count = 131_072
    """Held-out tokens to search for the words; every other document chooses the latents, and the rest test them."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: self-reflection, deductive, alternative, contrastive."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/ablate"))
    crosscoder: CrosscoderChoice = CrosscoderChoice()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("ablation")
