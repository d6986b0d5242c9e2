"""Which latents of a crosscoder lead to a category's words, as "Wait", and do gradients say so rightly?"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.latents.choices import HESITATION, Positions
from toolkit.models.where import Where
from toolkit.outputs import OutputFolder
from toolkit.ranges import Count, Seed, check_ranges
from toolkit.settings.findings import CrosscoderChoice, FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice


@dataclass(frozen=True, kw_only=True, repr=False)
class CrosscoderAttributionConfig(ShortRepr):
    """Follow a category's words back to latents by gradients, and take these latents out to see whether that is so."""

    category: str = HESITATION
    """The words that are followed back."""
    targets: int = 80
    """Positions before such a word, drawn without replacement: those of every other document choose the latents, and
    the rest test them."""
    undecided: tuple[float, float] = (0.05, 0.9)
    """Follow only words to which the distilled model gives a probability in this range; 0 1 takes all."""
    positions: Positions = "prefix"
    """Count a latent where the word is predicted (predict), at every token before the word except the first (prefix),
    or at the first token too (all)."""
    top: Count = 6
    """Latents of the largest effect that are tested, together and one by one; as many random ones stand beside them."""
    steps: Count = 2
    """Points on the path of a latent's code from 0 to what it is, at which gradients are taken."""
    control_draws: Count = 10
    """Draws of each control; the best of them is what the chosen latents must exceed."""
    tokens: Count = 65_536
    """Held-out tokens to search for the words."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: self-reflection, deductive, alternative, contrastive."""
    seed: Seed = 0
    """Seed of every draw: positions, controls."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/attribute_crosscoder"))
    crosscoder: CrosscoderChoice = CrosscoderChoice()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.targets < 4:
            raise ValueError(f"targets {self.targets}: must be at least 4, for each half of the documents to have some")
        if self.where.remote:
            raise ValueError("remote: NDIF is not asked for gradients: leave out --remote")

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("crosscoder_attribution")
