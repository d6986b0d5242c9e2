"""How many bits a byte do models need for the same texts, each with its own tokenizer or with another's?"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.harvest.choices import EMBEDDED
from toolkit.models.presets import CHECKOUT
from toolkit.models.where import Where
from toolkit.outputs import OutputFolder
from toolkit.ranges import Count, Seed, check_ranges
from toolkit.settings.findings import FindingsOutput

TRIO = tuple(str(CHECKOUT / "artifacts" / "organism" / name) for name in ("base", "distilled", "control"))


@dataclass(frozen=True, kw_only=True, repr=False)
class TokenizerEvaluationConfig(ShortRepr):
    """Bits per UTF-8 byte that models need for the same texts, comparable whatever their tokenizers."""

    models: tuple[str, ...] = TRIO
    """Models to compare with the first of them: local folders or hub names. Default: the three embedded models."""
    tokenizers: tuple[str, ...] = ()
    """Read every model with these tokenizers too: local folders or hub names."""
    data: str = EMBEDDED
    """organism, of which held-out documents are read, reasoning+general, a hub dataset, or local files."""
    text_field: str = "text"
    """Field of a record that holds its text; of a record without this field, the chat messages are read."""
    documents: int = 200
    """Documents that are read."""
    characters: Count = 1000
    """Characters after which a document is cut, the same for every tokenizer."""
    seed: Seed = 0
    """Seed of the data's order."""
    output: FindingsOutput = FindingsOutput(out=Path("runs/tokenizer_evaluation"))
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.models:
            raise ValueError("models names none: give at least one")
        if self.documents < 2:
            raise ValueError(f"documents {self.documents}: must be at least 2")

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("tokenizer_evaluation")
