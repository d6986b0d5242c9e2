"""What makes each latent of an adapter fire, where in an answer, and which tokens does it promote?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import BROWSER, Claim, OutputFolder
from toolkit.ranges import Count, CountOrNone, Seed, check_ranges
from toolkit.settings.adapters import AdapterChoice
from toolkit.settings.findings import FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice

EXAMPLES = "examples_from_layer_{}.sqlite"
"""Name of the file with the examples of a block of layers, by its first layer."""


@dataclass(frozen=True, kw_only=True, repr=False)
class AdapterLatentsConfig(ShortRepr):
    """Which text makes an adapter's latents fire, in which part of answers, and which tokens they promote.

    The output folder also gets latents.html and the files of examples. Where it holds these already, reading continues
    from there.
    """

    latents: tuple[str, ...] = ()
    """Latents to show in tables too, as layer/index: 3/17. The browser has all latents that fire."""
    tokens: Count = 65_536
    """Held-out tokens to read in all. A later call with a larger number reads only those that are missing."""
    row_length: Count = 320
    """Tokens after which a document is cut. A document whose thinking is cut off counts in no part of answers."""
    mode: Literal["adapter", "hybrid", "distilled"] = "adapter"
    """Which model the latents read: the adapter's, or the one without it, or the distilled model itself."""
    layers_together: Count | None = None
    """Layers that are read in one pass over the text; default: as many as 2 GB of examples and 512 MB of codes allow.
    Fewer take less memory, and each block of layers reads the whole text once."""
    top: Count = 10
    """Strongest examples to keep of each latent."""
    sampled: Count = 12
    """Examples to draw from all firings of each latent; they are shown in quarters, from weak to strong."""
    before: CountOrNone = 24
    """Tokens of context shown before the firing."""
    after: CountOrNone = 8
    """Tokens of context shown after it."""
    features: Literal["packed", "pages"] | None = None
    """Write feature files too, into --out/features: packed, as published adapters have them, or pages, a JSON file for
    each latent, as circuit-tracer's page reads them."""
    labels: Path | None = None
    """Labelled documents (.jsonl with text and spans, or annotated reasoning traces) that latents are tested on;
    default, for the embedded pair alone: answers with the behaviours that were written into them."""
    labelled: Count = 160
    """How many of these answers."""
    lexicon: Path | None = None
    """JSON file of category words, {"category": ["word", ...]}; default: those of the paper."""
    seed: Seed = 0
    """Seed of every draw: sampled examples, random dictionaries."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/adapter_latents"))
    adapter: AdapterChoice = AdapterChoice()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        files = EXAMPLES.format("*")
        examples = Claim(changing=(files, f"{files}-wal", f"{files}-shm"))
        features = Claim(changing=("features/layer_*.bin", "features/index.json.gz", "features/[0-9]*.json"))
        return self.output.folders("adapter_latents", others=(BROWSER, examples, features))
