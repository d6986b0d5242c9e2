"""What makes each latent fire, and which tokens does it promote? Examples, lenses and lifts, for a page to search."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import BROWSER, Claim, OutputFolder
from toolkit.ranges import Count, CountOrNone, Seed, check_ranges
from toolkit.settings.findings import CrosscoderChoice, FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice

EXAMPLES = Claim(
    changing=("examples.sqlite", "examples.sqlite-wal", "examples.sqlite-shm"),
    signs={"top_examples.json": ("question", "results", "provenance")},
)


@dataclass(frozen=True, kw_only=True, repr=False)
class TopExamplesConfig(ShortRepr):
    """Which text makes latents fire most strongly and at all strengths, and which tokens the latents promote.

    The output folder also gets examples.sqlite and latents.html. Where it holds an examples.sqlite already, reading
    continues from there.
    """

    latents: tuple[int, ...] = ()
    """Latents to show; default: all. Examples of all latents are kept, so that a later call can show others at once."""
    tokens: Count = 262_144
    """Held-out tokens to read in all. A later call with a larger number reads only those that are missing."""
    top: Count = 10
    """Strongest examples to keep of each latent."""
    sampled: Count = 12
    """Examples to draw from all firings of each latent; they are shown in quarters, from weak to strong."""
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
