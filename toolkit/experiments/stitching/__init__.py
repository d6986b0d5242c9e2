"""Can a model's later layers use what another model's first layers made?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import RESULTS, OutputFolder
from toolkit.ranges import Count, CountOrNone, Seed, check_ranges
from toolkit.settings.findings import FindingsOutput, TextChoice
from toolkit.settings.models import StitchedModels

MapName = Literal["identity", "mean_shift", "orthogonal", "ridge", "trained", "trained_from_zero"]
CLOSED_FORM: tuple[MapName, ...] = ("identity", "mean_shift", "orthogonal", "ridge")
TRAINED: tuple[MapName, ...] = ("trained", "trained_from_zero")
FEWEST_DOCUMENTS = 8


@dataclass(frozen=True, kw_only=True, repr=False)
class StitchingConfig(ShortRepr):
    """Run the first layers of one model and the later layers of the other, with a map between their streams.

    Each cut is done in both directions, and with each model stitched to itself as a control.
    """

    cuts: tuple[int, ...] = ()
    """Layers of the receiving model at whose input its stream is replaced by the other model's, mapped.
    Default: every layer of a model of up to 8 layers, 5 that are spread evenly over a deeper one."""
    maps: tuple[MapName, ...] = (*CLOSED_FORM, *TRAINED)
    """Maps that are tried. Those that need streams of one width are left out where the widths differ."""
    tokens: Count = 16_384
    """Tokens on which each map is fitted; trained maps read the same text."""
    documents: Count = 96
    """Held-out documents on which predictions are compared; no map is fitted on them."""
    seeds: Count = 3
    """Fits of each map in closed form at the middle cut, each on other text, so that its intervals hold how fits vary;
    at the other cuts each is fitted once."""
    steps: CountOrNone = 100
    """Steps for which a map is trained on cross-entropy, at the middle cut; 0 leaves trained maps out."""
    n_problems: CountOrNone = 32
    """Problems that the models answer, as they are and stitched at the middle cut, greedily; 0 leaves it out."""
    problems: str | None = None
    """A set by name, gsm8k, math-500, aime24, aime25, amc23 or organism, or a file of questions and answers.
    Default: organism for the embedded pair, gsm8k for others."""
    new_tokens: Count = 320
    """Tokens after which an answer is cut."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: the paper's categories.
    Its self-reflection words count as hesitation; where it has none, the shipped ones do."""
    seed: Seed = 0
    """Seed of every draw: text, batches of training."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/stitch"))
    models: StitchedModels = StitchedModels()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("cuts", "maps"):
            given = getattr(self, name)
            if len(set(given)) < len(given):
                raise ValueError(f"{name} {' '.join(map(str, given))}: give each once")
        if negative := [cut for cut in self.cuts if cut < 0]:
            raise ValueError(f"cuts {negative[0]}: give a layer, from 0 on")
        known = (*CLOSED_FORM, *TRAINED)
        if unknown := [name for name in self.maps if name not in known]:
            raise ValueError(f"no map is called {unknown[0]!r}: choose from {', '.join(known)}")
        if not set(self.maps) - (set(TRAINED) if self.steps == 0 else set()):
            raise ValueError(f"no map is left to try: give maps, one or more of {', '.join(CLOSED_FORM)}")
        if self.documents < FEWEST_DOCUMENTS:
            raise ValueError(f"documents {self.documents}: an interval needs at least {FEWEST_DOCUMENTS}")

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("stitching", others=(RESULTS,))
