"""What the page of harmonic probes claims, and by how much; written before anything was measured."""

from toolkit.answers.means import UNIT
from toolkit.experiments.harmonic_probes.lattice import Lattices
from toolkit.experiments.harmonic_probes.lattice_page import lattice_claim
from toolkit.experiments.harmonic_probes.results import LabelFound, ProbesFound
from toolkit.experiments.harmonic_probes.steering import SteeredToCentre
from toolkit.experiments.harmonic_probes.ways import CENTRE, POINT, RANDOM
from toolkit.experiments.steering.claims import LEAST_SLOPE
from toolkit.statistics.estimates import Estimate, over_seeds
from toolkit.statistics.verdicts import Claim, Margin

WORSE = 0.02
"""Of balanced accuracy: a probe that loses no more than this is as good."""


def claims(found: ProbesFound, steered: SteeredToCentre | None, lattices: Lattices | None) -> list[Claim]:
    """Return two claims of each label, two of steering where answers were steered, and one of the lattice."""
    of_labels = [
        claim
        for name, label in found.labels.items()
        for claim in (_is_as_good(name, label, found.layer), _centres_agree(name, label, found.draws))
    ]
    of_ways = [_steers(steered, way) for way in (CENTRE, POINT)] if steered else []
    return [*of_labels, *of_ways, *([lattice_claim(lattices)] if lattices else [])]


def slope(steered: SteeredToCentre, way: str) -> Estimate:
    """Rise of the log length a unit of strength along a way, over draws and questions."""
    return over_seeds(steered.ways[way].slope, unit=UNIT)


def beyond_random(steered: SteeredToCentre, way: str) -> Estimate:
    """How much steeper a way is than the best random direction, question by question."""
    return over_seeds(steered.ways[way].slope - steered.ways[RANDOM].slope, unit=UNIT)


def best_random(steered: SteeredToCentre) -> str:
    """What the control is called: the best of 16 random directions."""
    return f"the best of {len(steered.random)} {RANDOM}"


def _is_as_good(name: str, label: LabelFound, layer: int) -> Claim:
    compared = label.layers[layer]
    last = list(compared.values())[-1]
    return Claim(
        name=f"{name}: harmonic is as good as logistic",
        effect=last.difference,
        margins=tuple(
            Margin(over=f"logistic, {model}", difference=each.difference, least=-WORSE)
            for model, each in compared.items()
        ),
        n=last.n,
    )


def _centres_agree(name: str, label: LabelFound, draws: int) -> Claim:
    agreement = label.agreement
    margins = [Margin(over="random directions", difference=agreement.cosine)]
    if agreement.shape is not None:
        beyond = agreement.shape.procrustes.reflected(agreement.shape.procrustes_permuted).reflected()
        margins.append(Margin(over="permuted classes", difference=beyond))
    return Claim(
        name=f"{name}: the models' centres agree",
        effect=agreement.cosine,
        margins=tuple(margins),
        n=draws,
    )


def _steers(steered: SteeredToCentre, way: str) -> Claim:
    effect = slope(steered, way)
    return Claim(
        name=f"{way}: answers become longer",
        effect=effect,
        margins=(
            Margin(over="no steering", difference=effect, least=LEAST_SLOPE),
            Margin(over=best_random(steered), difference=beyond_random(steered, way)),
        ),
        n=len(steered.questions),
    )
