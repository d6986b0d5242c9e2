"""What makes each latent fire, and what does it say? Examples, lenses and lifts, for a page to look through."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.models.where import Where
from toolkit.outputs import BROWSER, Claim, OutputFolder
from toolkit.ranges import Count, CountOrNone, Seed, check_ranges
from toolkit.settings.findings import CrosscoderChoice, FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice

EXAMPLES = Claim(
    changing=("examples.sqlite", "examples.sqlite-wal", "examples.sqlite-shm"),
    signs={"top_examples.json": ("question", "results", "provenance")},
)


@dataclass(frozen=True, kw_only=True)
class TopExamplesConfig:
    """Which text makes latents fire, strongest and at all strengths, and which tokens they promote.

    The output's folder holds examples.sqlite too, and a browser of latents; an examples.sqlite there is continued.
    """

    latents: tuple[int, ...] = ()
    """Latents to show; default: all. Examples are kept of all, so the next ones come at once."""
    tokens: Count = 262_144
    """Held-out tokens to read in all; ask for more later, and only those are read."""
    top: Count = 10
    """Strongest examples kept of each latent."""
    sampled: Count = 12
    """Examples drawn from all firings of each latent, shown in quarters from weak to strong."""
    before: CountOrNone = 24
    """Tokens of context shown before the firing."""
    after: CountOrNone = 8
    """Tokens of context shown after it."""
    lexicon: Path | None = None
    """JSON file of category words, {"category": ["word", ...]}; default: those of the paper."""
    seed: Seed = 0
    """Seed of every draw: sampled examples, random pairs of rows, resamples."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/top_examples"))
    crosscoder: CrosscoderChoice = CrosscoderChoice()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("top_examples", others=(BROWSER, EXAMPLES))
