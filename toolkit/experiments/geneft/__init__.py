"""When does a network generalise instead of memorising? Baek, Liu & Tegmark 2024 on two repons and on a small graph."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.outputs import RESULTS, OutputFolder
from toolkit.ranges import Count, Positive, Seed, ShareAboveZero, check_ranges
from toolkit.settings.findings import FindingsOutput


@dataclass(frozen=True, kw_only=True, repr=False)
class GenEFTConfig(ShortRepr):
    """Whether two repons meet as their conserved quantity says, and when a graph's autoencoder generalises."""

    draws: int = 600
    """Random starts and learning rates of two repons, which are representations that a linear decoder reads."""
    rates: tuple[Positive, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    """Learning rates of the graph's encoder and decoder: every pair of them is trained."""
    fraction: ShareAboveZero = 0.6
    """Share of the graph's 435 pairs of nodes on which each pair of rates is trained."""
    fractions: tuple[ShareAboveZero, ...] = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8)
    """Shares of the pairs of nodes that are tried with a fast encoder, and with a fast decoder."""
    seeds: int = 5
    """Initial weights, each with training pairs of its own, of every autoencoder."""
    steps: Count = 1000
    """Steps of each autoencoder's training, with all its pairs in each."""
    seed: Seed = 0
    """Seed of every draw."""
    output: FindingsOutput = FindingsOutput(out=Path("runs/geneft"))

    def __post_init__(self) -> None:
        check_ranges(self)
        for name, least in (("draws", 20), ("seeds", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}: an interval needs at least {least}")
        for name in ("rates", "fractions"):
            if len(set(getattr(self, name))) < 2:
                raise ValueError(f"{name} {getattr(self, name)}: give at least two different ones to compare")
        if max(self.fraction, *self.fractions) > LARGEST_FRACTION:
            raise ValueError(
                f"a share of {max(self.fraction, *self.fractions)} of the pairs leaves too few to test on: give at most"
                f" {LARGEST_FRACTION}"
            )

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("geneft", others=(RESULTS,))


LARGEST_FRACTION = 0.95
