"""Do word pairs of one class share a step in activation space, and does distillation change that?"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import OutputFolder
from toolkit.ranges import Seed, check_ranges
from toolkit.settings.findings import FindingsOutput
from toolkit.settings.models import ControlledModels


@dataclass(frozen=True, kw_only=True, repr=False)
class WordGeometryConfig(ShortRepr):
    """Parallelogram loss of word pairs in both models, against shuffled pairs."""

    words: tuple[str, ...] = ()
    """Word pairs: embedded, everyday (shipped), files or folders of .json, .csv, .tsv; default: what fits the pair."""
    spaced: bool = False
    """Put a space before each word: in most vocabularies more words are one token then."""
    prefix: str | None = None
    """The one token before each word; default: the tokenizer's own beginning of text, or a newline."""
    paper: bool = False
    """As in Baek & Tegmark 2025: each word alone, at position 0, where every token is an attention sink."""
    shared_components: bool = False
    """Fit the principal components of a model to the words of all classes; otherwise to each class's own."""
    seed: Seed = 0
    """Seed of every draw: shuffled partners, resamples."""
    output: FindingsOutput = FindingsOutput(out=Path("runs/word_geometry"))
    models: ControlledModels = ControlledModels()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.paper and self.prefix is not None:
            raise ValueError(f"--paper puts nothing before a word, --prefix {self.prefix!r} does: give one of them")

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("word_geometry")
