"""Which tokens and which latents of an adapter made the model say a word?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.attribution.limits import Limits
from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import GRAPHS, OutputFolder
from toolkit.ranges import Count, Seed, check_ranges
from toolkit.settings.adapters import AdapterChoice
from toolkit.settings.findings import FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice

Compared = Literal["hybrid", "distilled", "base"]


@dataclass(frozen=True, kw_only=True, repr=False)
class AttributionConfig(ShortRepr):
    """Draw the attribution graph of one prompt, and test its strongest edges."""

    prompt: str | None = None
    """Text whose next word is explained, special tokens included. Default: the first shipped question in whose answer
    the adapter hesitates, with the answer up to the first word of hesitation."""
    target: tuple[str, ...] = ()
    """Words to explain, each a single token. Default: the likely next ones, of probability .95 together, 10 at most."""
    limits: Limits = Limits()
    tested_edges: Count = 100
    """Edges from latents, the strongest into words and into other latents, that are tested by taking out what their
    latents add."""
    compare: tuple[Compared, ...] = ("hybrid",)
    """Whose graphs of the same words stand beside it: hybrid, distilled, base. They have no latents."""
    example_tokens: Count = 16_384
    """Held-out tokens that are read for examples of the graph's latents."""
    seed: Seed = 0
    """Seed of the control's draws: shuffled predictions, and pairs without an edge."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/attribute"))
    adapter: AdapterChoice = AdapterChoice()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        if len(set(self.compare)) < len(self.compare):
            raise ValueError(f"compare {' '.join(self.compare)}: name each once")
        if self.prompt is not None and not self.prompt.strip():
            raise ValueError(f"prompt {self.prompt!r} holds no word: give a text, or leave it out for the default")
        if "" in self.target:
            raise ValueError("target '' is no token: give a word of one token, or leave it out for the likely ones")

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("attribution", others=(GRAPHS,))
