"""Do the paper's experiments give the same results on this pair?"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import Claim, OutputFolder
from toolkit.ranges import Count, Seed, Share, check_ranges
from toolkit.settings.findings import CrosscoderChoice, FindingsOutput, TextChoice
from toolkit.settings.models import ControlledModels

FINDINGS = (
    "reconstruction",
    "latent_classes",
    "ablation",
    "ablation_paper",
    "steering",
    "word_geometry",
    "layer_divergence",
)
PARTS = "parts"
"""Folder of finished parts, in that of the pages."""
COMPARISON = Claim(
    files=("results.json", "comparison.html"),
    changing=(f"{PARTS}/*.json",),  # each says itself whether it is whole
    signs={"results.json": ("nrn", "provenance")},
)


@dataclass(frozen=True, kw_only=True, repr=False)
class ReproductionConfig(ShortRepr):
    """Run every experiment of the paper on one pair, and set the numbers beside the published ones or the truth."""

    tokens: Count = 131_072
    """Held-out tokens that each experiment reads."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: self-reflection, deductive, alternative, contrastive."""
    words: tuple[str, ...] = ()
    """Word pairs: embedded, everyday (shipped), files or folders of .json, .csv, .tsv; default: what fits the pair."""
    questions: Path | None = None
    """JSONL file of {"question", "answer"} for steering; default: the shipped ones for this pair."""
    undecided: tuple[Share, Share] = (0.05, 0.9)
    """Our ablation takes only words to which the distilled model gives a probability in this range; 0 1 takes all."""
    development: int = 20
    """Questions that steering directions are picked on."""
    test: int = 64
    """Questions that the picked directions are compared on."""
    seed: Seed = 0
    """Seed of every draw: positions, controls, resamples."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/reproduce_paper"))
    crosscoder: CrosscoderChoice = CrosscoderChoice()
    models: ControlledModels = ControlledModels()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders(*FINDINGS, others=(COMPARISON,))
