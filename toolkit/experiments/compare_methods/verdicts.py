"""What is claimed of each method, written before anything is measured, and what shows after adjustment."""

from collections.abc import Mapping

from toolkit.experiments.compare_methods.measure import Comparison, PairFound
from toolkit.experiments.compare_methods.methods import METHODS
from toolkit.experiments.compare_methods.study import DENSE, SPARSE, Found
from toolkit.statistics.verdicts import Claim, Margin, judge

LEAST_MARGIN = 0.02
"""AUROC by which a method must exceed the floor."""

Shows = dict[str, dict[str, bool]]
"""By method, by behaviour."""


def marking_claims(pair: PairFound) -> list[Claim]:
    """Every method's best unit marks every behaviour better than the best of as many random units."""
    return _claims(pair, {name: method.any_unit for name, method in pair.methods.items()})


def difference_claims(pair: PairFound) -> list[Claim]:
    """The same of the units that a method calls the last model's own: that it finds a difference of the two models."""
    return _claims(pair, {name: method.claimed for name, method in pair.methods.items()})


def _claims(pair: PairFound, found: Mapping[str, Mapping[str, Found]]) -> list[Claim]:
    return [
        Claim(
            name=f"{name}: {behaviour}",
            effect=each.auroc,
            margins=tuple(
                Margin(over=kind, difference=each.margins[kind], least=LEAST_MARGIN)
                for kind in ((SPARSE, DENSE) if METHODS[name].dense else (SPARSE,))
            ),
            n=len(pair.tokens.tested.unique()),
        )
        for name, by_behaviour in found.items()
        for behaviour, each in by_behaviour.items()
    ]


def shown(claims: list[Claim], pair: PairFound) -> Shows:
    """Which claims show, adjusted over all of them; what was not claimed does not."""
    holds = {verdict.claim.name: verdict.shows for verdict in judge(claims)}
    return {
        name: {behaviour: holds.get(f"{name}: {behaviour}", False) for behaviour in pair.tokens.measurable}
        for name in pair.methods
    }


def count(shows: Shows) -> dict[str, int]:
    """How many behaviours each method finds."""
    return {name: sum(by_behaviour.values()) for name, by_behaviour in shows.items()}


def false_discoveries(found: Comparison) -> dict[str, int]:
    """How many behaviours each method calls the control's own on the null pair; empty where there is none.

    The documents hold the behaviours on either pair, and any unit may mark them. What distillation did not change,
    because nothing was distilled, must not be called a difference.
    """
    return {} if found.null is None else count(shown(difference_claims(found.null), found.null))
