"""What do logistic and harmonic probes of frozen activations tell, and are their class centres alike in both models?"""

from dataclasses import dataclass

from toolkit.experiments.harmonic_probes import HarmonicProbesConfig
from toolkit.experiments.harmonic_probes.lattice import Lattices, measure_lattices
from toolkit.experiments.harmonic_probes.probing import Probed, probe
from toolkit.experiments.run import Run
from toolkit.models.model_set import ModelSet


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Everything that is measured."""

    probed: Probed
    lattices: Lattices | None
    """None where it was not asked for."""


def measure(settings: HarmonicProbesConfig, opened: ModelSet | Run) -> Measured:
    """Fit probes, and train the lattice; raises `ValueError` as `probe` does."""
    probed = probe(settings, opened)
    asked = settings.lattice_steps
    lattices = measure_lattices(asked, settings.lattice_seeds, settings.seed) if asked else None
    return Measured(probed=probed, lattices=lattices)
