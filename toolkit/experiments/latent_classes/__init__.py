"""Which latents are one model's only, which are shared, and which only look exclusive?"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import OutputFolder
from toolkit.ranges import Count, Seed, check_ranges
from toolkit.settings.findings import CrosscoderChoice, FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice


@dataclass(frozen=True, kw_only=True, repr=False)
class LatentClassesConfig(ShortRepr):
    """Which model each latent belongs to: decoder norms, latent scaling, and what exclusive latents fire on."""

    tokens: Count = 100_000
    """Held-out tokens to read, rounded up to a whole batch."""
    listed: Count = 5
    """Latents to list at either end of the NRN scale."""
    examples: Count = 2
    """Examples of each listed latent."""
    lexicon: Path | None = None
    """JSON file of category words, {"category": ["word", …]}; default: the paper's four categories."""
    labels: Path | None = None
    """Labelled documents (.jsonl with text and spans, or annotated reasoning traces): adds the AUROC table."""
    seed: Seed = 0
    """Seed of every draw: random pairs of rows, resamples."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/latent_classes"))
    crosscoder: CrosscoderChoice = CrosscoderChoice()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("latent_classes")
