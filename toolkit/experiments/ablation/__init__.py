"""What happens to a category's words when its latents are taken out of the models?"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from toolkit.experiments.run import FindingsConfig
from toolkit.interventions.ablation import Method, Positions
from toolkit.latents.firing import Place
from toolkit.latents.selection import Rule
from toolkit.ranges import Count, check_ranges

PAPER: dict[str, Any] = {"positions": "prefix", "select": "quantile", "place": "token", "undecided": (0.0, 1.0)}


@dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """Which latents are taken out, where, and what that is compared with."""

    shares: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
    """Shares of the alive latents to take out, the best first."""
    reference: float = 0.02
    """The share that the headline, the histogram and the off-target matrix are about."""
    select: Rule = "lift"
    """lift: P(fire | category) / P(fire); rate: P(fire | category); quantile: the paper's, by counts."""
    place: Place = "predicting"
    """Count firings where the word is predicted, or on the word's own token (the paper)."""
    min_nrn: float = 0.5
    """Only latents whose NRN is above this: those that lean to the distilled model."""
    targets: int = 100
    """Positions a category, drawn without replacement."""
    undecided: tuple[float, float] = (0.05, 0.9)
    """Only words that the distilled model gives a probability in this range; 0 1 takes all occurrences (the paper)."""
    method: Method = field(default_factory=Method)
    """Where the latents are taken out, and of what."""
    control_draws: int = 3
    """Draws of each control, averaged position by position."""
    seed: int = 0
    """Seed of positions and controls."""

    def __post_init__(self) -> None:
        if self.reference not in self.shares:
            raise ValueError(f"the reference share {self.reference} is not among the shares {self.shares}: add it")
        for name, least in (("targets", 2), ("control_draws", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least {least}")


@dataclass(frozen=True, kw_only=True)
class AblationConfig(AblationSettings, FindingsConfig):
    """Take a category's latents out of both models and measure its words' logits, against two controls."""

    FINDINGS = ("ablation",)
    out: Path = Path("runs/ablate")
    """Folder for the page, its figures and the JSON of results."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: self-reflection, deductive, alternative, contrastive."""
    tokens: Count = 131_072
    """Held-out tokens to look for positions in; every other document chooses the latents, the rest test them."""
    positions: Positions = "predict"
    """Where latents are taken out: at the predicting position, in the whole prefix (the paper), or all of it."""
    paper: bool = False
    """The paper's protocol: quantile on the word's token, whole prefix, all occurrences, reconstruction spliced in.
    It measures against the reconstruction without ablation."""
    method: Annotated[Method, tyro.conf.Suppress] = field(default_factory=Method)
    """Follows from positions, paper and layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self)
        defaults = {each.name: each.default for each in fields(self)}
        for name, value in PAPER.items() if self.paper else ():
            if getattr(self, name) not in (value, defaults[name]):
                raise ValueError(f"--paper sets --{name} to {value}, and {getattr(self, name)} is given: leave one out")

    def settings(self) -> AblationSettings:
        """The study that is asked for."""
        asked = {each.name: getattr(self, each.name) for each in fields(AblationSettings)}
        asked |= {"positions": self.positions} | (PAPER if self.paper else {})
        method = Method(positions=asked.pop("positions"), spliced=self.paper)
        return AblationSettings(**asked | {"method": method})
