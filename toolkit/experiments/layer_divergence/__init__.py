"""At which layers does the distilled model's residual stream differ from the base model's, and by how much?"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import OutputFolder
from toolkit.ranges import Count, Seed, check_ranges
from toolkit.settings.findings import FindingsOutput, TextChoice
from toolkit.settings.models import ControlledModels


@dataclass(frozen=True, kw_only=True, repr=False)
class LayerDivergenceConfig(ShortRepr):
    """How far apart the two models' residual streams are at each layer, on the same tokens."""

    tokens: Count = 65_536
    """Tokens to compare, without those at position 0."""
    seed: Seed = 0
    """Seed of every draw: other tokens, resamples."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/layer_divergence"))
    models: ControlledModels = ControlledModels()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("layer_divergence")
