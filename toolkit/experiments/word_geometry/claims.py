"""What the page claims of each class of words, and what it must exceed for that; written before any measurement."""

from toolkit.experiments.word_geometry.measure import DIMS, WordGeometry
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.verdicts import Claim, Margin

SHOWN_DIMS = max(DIMS)
LEAST_GAP = 0.05
"""In loss, which is about 1 for noise: a smaller gap to shuffled pairs is no step that words share."""
LEAST_CHANGE = 0.02
"""In loss: by how much the examined model's gap must be wider, or narrower, than the reference's and a control's."""


def claims(found: WordGeometry) -> list[Claim]:
    """Of every class: that its pairs share a step in the reference and in the examined model, and that the gap changed.

    A yardstick, such as a control, claims nothing of its own: the change must exceed what it shows.
    """
    return [claim for name in found.classes for claim in [*_shared_steps(found, name), _change(found, name)]]


def shares_a_step(model: str) -> str:
    """What is claimed of a class in a model."""
    return f"share a step, {model}"


def changes_the_gap(*, narrower: bool) -> str:
    """What is claimed of a class between the models."""
    return f"distillation {'narrows' if narrower else 'widens'} the gap"


def gap_changes(found: WordGeometry, name: str) -> dict[str, Estimate]:
    """By model, the reference first: how much wider the examined model's gap is in a class, in the shown dimensions."""
    losses = {model: geometry.by_dims[SHOWN_DIMS] for model, geometry in found.classes[name].items()}
    examined = losses.pop(found.models[1])
    return {model: examined.gap_beyond(other) for model, other in losses.items()}


def _shared_steps(found: WordGeometry, name: str) -> list[Claim]:
    losses = {model: found.classes[name][model].by_dims[SHOWN_DIMS] for model in found.models[:2]}
    return [
        Claim(
            name=f"{name}: {shares_a_step(model)}",
            effect=loss.ratio_estimate,
            margins=(Margin(over="loss, to shuffled pairs", difference=loss.gap_estimate, least=LEAST_GAP),),
            n=loss.n_pairs,
        )
        for model, loss in losses.items()
    ]


def _change(found: WordGeometry, name: str) -> Claim:
    """The claim names the direction in which the gap changed from the reference; p values are two-sided.

    Beyond a yardstick the gap must differ in that same direction.
    """
    reference, examined = found.models[:2]
    changes = gap_changes(found, name)
    narrower = changes[reference].value < 0
    return Claim(
        name=f"{name}: {changes_the_gap(narrower=narrower)}",
        effect=changes[reference],
        margins=tuple(
            Margin(over=f"gap in {model}", difference=change.reflected() if narrower else change, least=LEAST_CHANGE)
            for model, change in changes.items()
        ),
        n=found.classes[name][examined].by_dims[SHOWN_DIMS].n_pairs,
    )
