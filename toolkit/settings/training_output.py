"""Where a training run is written, and how often: a part of its settings."""

from dataclasses import dataclass, field
from pathlib import Path

from toolkit.fields import BESIDE_RESULT, ShortRepr
from toolkit.ranges import Count, check_ranges


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainingOutput(ShortRepr):
    """Where the run is written, and how often."""

    out: Path = field(metadata=BESIDE_RESULT)
    """Run folder: the trained weights, their settings, metrics, figures and report."""
    resume: bool = field(default=False, metadata=BESIDE_RESULT)
    """Continue the run in --out from its last checkpoint; it ends in the same weights as a run that never stopped."""
    overwrite: bool = field(default=False, metadata=BESIDE_RESULT)
    """Replace the run in --out."""
    checkpoint_steps: Count = 200
    """Steps between two checkpoints."""
    keep_checkpoints: Count = 2
    """How many of the newest checkpoints are kept."""

    def __post_init__(self) -> None:
        check_ranges(self)
