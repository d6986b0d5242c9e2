"""Every number of the stitching experiment, as `results.json` holds it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from toolkit.experiments.stitching.found import StitchingFound
from toolkit.experiments.stitching.study import Measure, StitchedCut, StitchingStudy
from toolkit.stitching.position_kinds import KINDS


def results(found: StitchingFound) -> dict[str, Any]:
    """All of it, by direction, cut and map; a cut is the receiver's layer, as text.

    `self` is the last model before itself, `self_base` the first one, `base_to_control` base before the control. Where
    `receiver_predicts` is false, the receiver as it is predicts the text worse than a uniform guess does, and
    `excess_ce` says nothing of a map.
    """
    study = found.study
    return {
        "excess_ce": _each(study, lambda cut: {name: cut.cost(name, measure="ce") for name in cut.maps}),
        "excess_kl": _each(study, lambda cut: {name: cut.cost(name) for name in cut.maps}),
        "excess_ce_by_kind": _each(study, partial(_by_kind, "ce")),
        "excess_kl_by_kind": _each(study, partial(_by_kind, "kl")),
        "receiver_loss": _each(study, lambda cut: cut.loss_a_token),
        "receiver_predicts": _each(study, lambda cut: cut.predicts),
        "n": _each(study, lambda cut: {kind: cut.n(kind) for kind in KINDS}),
        "front_layer": _each(study, lambda cut: cut.front_layer),
        "turned_from_identity": _each(study, lambda cut: dict(cut.from_identity)),
        "variance_explained": _each(study, lambda cut: dict(cut.explained)),
        "rank": {
            direction: {
                "cut": study.middle[direction],
                "needed": cut.rank_needed,
                "kl_beyond_ridge": {str(rank): cut.beyond_ridge(rank) for rank in sorted(cut.ranks)},
            }
            for direction in study.directions
            if (cut := study.at_middle(direction)).ranks
        },
        "middle": dict(study.middle),
        "documents": study.documents,
        "fitted_tokens": list(study.fitted_tokens),
        "left_out": dict(study.left_out),
    }


def _each(study: StitchingStudy, value: Callable[[StitchedCut], Any]) -> dict[str, dict[str, Any]]:
    return {
        direction: {str(number): value(cut) for number, cut in cuts.items()}
        for direction, cuts in study.directions.items()
    }


def _by_kind(measure: Measure, cut: StitchedCut) -> dict[str, Any]:
    return {name: {kind: cut.cost(name, kind, measure=measure) for kind in KINDS if cut.n(kind)} for name in cut.maps}
