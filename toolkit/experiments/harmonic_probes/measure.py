"""What do logistic and harmonic probes of frozen activations tell, and are their class centres alike in both models?"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.experiments.harmonic_probes import HarmonicProbesConfig
from toolkit.experiments.harmonic_probes.lattice import Lattices, measure_lattices
from toolkit.experiments.harmonic_probes.probing import chosen_layers, probe
from toolkit.experiments.harmonic_probes.results import ProbesFound
from toolkit.experiments.harmonic_probes.steering import SteeredToCentre, asked_steering, steered_to_centre
from toolkit.models.model_set import ModelSet


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Everything that is measured."""

    probes: ProbesFound
    steered: SteeredToCentre | None
    """None where it was not asked for, or could not be done."""
    lattices: Lattices | None
    """None where it was not asked for."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why answers were not steered."""


def measure(settings: HarmonicProbesConfig, opened: ModelSet) -> Measured:
    """Fit probes, steer toward their centres, and train the lattice.

    Raises `ValueError` as `probe` and `asked_steering` do.
    """
    _, shown = chosen_layers(settings, opened)
    asked = asked_steering(settings, opened, shown)
    probed = probe(settings, opened)
    label, left_out, steered = settings.steering.toward, {}, None
    if asked and label in probed.points:
        points = probed.points[label][settings.steering.model]
        steered = steered_to_centre(settings, asked, points)
    elif asked:
        left_out["steering"] = f"label {label} was not measured: give --toward another, or --test 0 to leave it out"
    steps = settings.lattice_steps
    lattices = measure_lattices(steps, settings.lattice_seeds, settings.seed) if steps else None
    return Measured(probes=probed.found, steered=steered, lattices=lattices, left_out=left_out)
