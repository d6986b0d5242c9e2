"""What the page claims of each class of words, and what it must exceed for that; written before any measurement."""

from toolkit.experiments.word_geometry.measure import DIMS, WordGeometry
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.verdicts import Claim, Margin

SHOWN_DIMS = max(DIMS)
LEAST_GAP = 0.05
"""In loss, which is about 1 for noise: a smaller gap to shuffled pairs is no step that words share."""
LEAST_CHANGE = 0.02
"""In loss: by how much the examined model's gap must be wider, or narrower, than another's."""


def claims(found: WordGeometry) -> list[Claim]:
    """Of every class: that the pairs share a step in each model, and how the examined model's gap differs.

    The claim that a gap changed names the direction in which it did, and its p value is two-sided.
    """
    return [claim for name in found.classes for claim in [*_shared_steps(found, name), *_changes(found, name)]]


def shares_a_step(model: str) -> str:
    """What is claimed of a class in a model."""
    return f"share a step, {model}"


def differs(model: str, *, narrower: bool) -> str:
    """What is claimed of a class in the examined model, set against another."""
    return f"{'narrower' if narrower else 'wider'} gap than {model}"


def gap_changes(found: WordGeometry, name: str) -> dict[str, Estimate]:
    """By model, how much wider the examined model's gap is in a class, in `SHOWN_DIMS` dimensions."""
    losses = {model: geometry.by_dims[SHOWN_DIMS] for model, geometry in found.classes[name].items()}
    examined = losses.pop(found.models[1])
    return {model: examined.gap_beyond(other) for model, other in losses.items()}


def _shared_steps(found: WordGeometry, name: str) -> list[Claim]:
    by_model = {model: geometry.by_dims[SHOWN_DIMS] for model, geometry in found.classes[name].items()}
    return [
        Claim(
            name=f"{name}: {shares_a_step(model)}",
            effect=loss.ratio_estimate,
            margins=(Margin(over="loss, to shuffled pairs", difference=loss.gap_estimate, least=LEAST_GAP),),
            n=loss.n_pairs,
        )
        for model, loss in by_model.items()
    ]


def _changes(found: WordGeometry, name: str) -> list[Claim]:
    examined = found.models[1]
    n = found.classes[name][examined].by_dims[SHOWN_DIMS].n_pairs
    changes = []
    for model, change in gap_changes(found, name).items():
        narrower = change.value < 0
        beyond = change.reflected() if narrower else change
        margin = Margin(over=f"gap in {model}", difference=beyond, least=LEAST_CHANGE)
        changes.append(
            Claim(name=f"{name}: {differs(model, narrower=narrower)}", effect=change, margins=(margin,), n=n)
        )
    return changes
