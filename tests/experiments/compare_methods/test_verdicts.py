from dataclasses import replace

import pytest

from toolkit.experiments.compare_methods.measure import PairFound
from toolkit.experiments.compare_methods.methods import DEFAULT
from toolkit.experiments.compare_methods.study import DENSE, SPARSE
from toolkit.experiments.compare_methods.verdicts import (
    LEAST_MARGIN,
    count,
    difference_claims,
    false_discoveries,
    marking_claims,
    shown,
)
from toolkit.statistics.estimates import with_error

PCA = "PCA of the difference"


def with_margins(pair: PairFound, margins: dict[str, dict[str, float]]) -> PairFound:
    """The pair with these margins of every behaviour, by method and kind, known to a hundredth."""

    def changed(name, found):
        known = {kind: with_error(value, 0.01, 100.0) for kind, value in margins[name].items()}
        return {behaviour: replace(each, margins=known) for behaviour, each in found.items()}

    return replace(
        pair,
        methods={
            name: replace(method, any_unit=changed(name, method.any_unit), claimed=changed(name, method.claimed))
            for name, method in pair.methods.items()
            if name in margins
        },
    )


def test_a_dense_method_must_beat_random_directions_too(compared):
    behaviours = compared.pair.tokens.measurable
    pair = with_margins(compared.pair, {DEFAULT: {SPARSE: 0.2, DENSE: 0.0}, PCA: {SPARSE: 0.2, DENSE: 0.0}})
    assert count(shown(marking_claims(pair), pair)) == {DEFAULT: len(behaviours), PCA: 0}


@pytest.mark.parametrize(("margin", "shows"), [(LEAST_MARGIN + 0.002, False), (LEAST_MARGIN + 0.1, True)])
def test_a_margin_must_exceed_the_least_one(compared, margin, shows):
    pair = with_margins(compared.pair, {DEFAULT: {SPARSE: margin, DENSE: 0.0}})
    assert all(shown(marking_claims(pair), pair)[DEFAULT].values()) == shows


def test_false_discoveries_are_of_units_that_a_method_calls_the_last_models_own(compared):
    behaviours = compared.pair.tokens.measurable
    null = with_margins(compared.null, {DEFAULT: {SPARSE: 0.2, DENSE: 0.2}, PCA: {SPARSE: 0.2, DENSE: 0.2}})
    nothing_claimed = replace(null, methods=null.methods | {DEFAULT: replace(null.methods[DEFAULT], claimed={})})
    found = replace(compared, null=nothing_claimed)
    assert false_discoveries(found) == {DEFAULT: 0, PCA: len(behaviours)}
    assert len(marking_claims(nothing_claimed)) == 2 * len(difference_claims(nothing_claimed))
    assert false_discoveries(replace(compared, null=None)) == {}
