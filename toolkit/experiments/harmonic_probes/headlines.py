"""The main numbers of harmonic probes."""

from toolkit.experiments.harmonic_probes.claims import best_random, beyond_random, slope
from toolkit.experiments.harmonic_probes.lattice import Lattices
from toolkit.experiments.harmonic_probes.lattice_page import in_plane
from toolkit.experiments.harmonic_probes.results import ProbesFound
from toolkit.experiments.harmonic_probes.steering import SteeredToCentre
from toolkit.experiments.harmonic_probes.ways import CENTRE, POINT, RANDOM
from toolkit.formatting import number
from toolkit.reports.findings import Headline


def probe_headlines(found: ProbesFound) -> list[Headline]:
    """In how many cells the harmonic probe is better; and of each label, how much, in the last model at the shown
    layer."""
    model, n = found.models[-1], len(found.differences)
    neither = n - found.better - found.worse
    overall = Headline(
        name="harmonic is better in",
        value=found.better,
        n=n,
        unit="cells",
        note=f"a cell is a label at a layer of a model. Worse in {found.worse}; in the other {neither} the 95 %"
        f" interval of the difference holds 0. Alike probes would give {number(n / 40)} of either by chance",
    )
    of_labels = [
        Headline(
            name=f"{name}: harmonic less logistic",
            value=(compared := label.layers[found.layer][model]).difference,
            n=compared.n,
            unit="tokens",
            note=f"balanced accuracy, {model}: harmonic {number(compared.harmonic.value)}, logistic"
            f" {number(compared.logistic.value)}, chance {label.chance:.2f}, token alone"
            f" {number(label.token_alone.value)}",
        )
        for name, label in found.labels.items()
    ]
    return [overall, *of_labels]


def steering_headlines(steered: SteeredToCentre) -> list[Headline]:
    """Both ways toward a centre, beyond the best random direction."""
    return [
        Headline(
            name=f"{way}: beyond random",
            value=beyond_random(steered, way),
            n=len(steered.questions),
            unit="questions",
            note=f"slope of ln(length), {number(slope(steered, way).value)}, less that of {best_random(steered)},"
            f" {number(slope(steered, RANDOM).value)}",
        )
        for way in (CENTRE, POINT)
    ]


def lattice_headline(lattices: Lattices) -> Headline:
    """How flat the harmonic networks' embeddings are at the least."""
    least = {name: min(in_plane(trained)) for name, trained in lattices.items()}
    first = next(iter(least))
    return Headline(
        name="lattice in a plane",
        value=least[first],
        n=len(lattices[first]),
        unit="seeds",
        note="least share of variance; " + ", ".join(f"{name} {each:.3f}" for name, each in least.items()),
    )
