"""What the figures of stitching show: costs by cut, by kind of position and by rank."""

from collections.abc import Mapping

from toolkit.experiments.stitching.figures import Line, costs_by_cut, costs_by_kind, costs_by_rank
from toolkit.experiments.stitching.study import (
    BASE_TO_CONTROL,
    RANK_MARGIN,
    RIDGE,
    Measure,
    StitchedCut,
    StitchingStudy,
)
from toolkit.experiments.stitching.tables import control_directions, joined, kinds_of, main_directions, maps_of
from toolkit.reports.findings import Chart

UNITS: dict[Measure, str] = {"kl": "KL (nats a token)", "ce": "excess CE (nats a token)"}


def charts(study: StitchingStudy) -> list[Chart]:
    """All figures, those of KL first."""
    main = [study.at_middle(direction) for direction in main_directions(study)]
    made = [
        _by_cut(study, "kl", "KL(receiver ‖ stitched), by cut and map; bands are 95 % intervals."),
        Chart(
            name="kl_by_kind",
            figure=costs_by_kind(
                {
                    f"{joined(stitched)}, cut {stitched.cut}": {
                        name: {kind: stitched.cost(name, kind) for kind in kinds_of(stitched)} for name in stitched.maps
                    }
                    for stitched in main
                },
                UNITS["kl"],
            ),
            caption="The same at the middle cut, by kind of the predicted token.",
        ),
    ]
    ranked = [stitched for stitched in main if stitched.ranks]
    if ranked:
        lines = {joined(each): {rank: each.beyond_ridge(rank) for rank in sorted(each.ranks)} for each in ranked}
        made.append(
            Chart(
                name="kl_by_rank",
                figure=costs_by_rank(lines, RANK_MARGIN, f"more {UNITS['kl']}"),
                caption="How much rank the ridge of the middle cut needs: what it costs more when it is truncated.",
            )
        )
    return [*made, _by_cut(study, "ce", "Cross-entropy in excess of the receiver's own, by cut and map.")]


def _by_cut(study: StitchingStudy, measure: Measure, caption: str) -> Chart:
    panels = {
        f"{stitched.front}'s front, {stitched.rest}'s rest": (
            _lines(study.directions[direction], measure),
            _control_lines(study, stitched, measure),
        )
        for direction in main_directions(study)
        for stitched in [study.at_middle(direction)]
    }
    name = "kl_by_cut" if measure == "kl" else "excess_ce_by_cut"
    return Chart(name=name, figure=costs_by_cut(panels, UNITS[measure]), caption=caption)


def _lines(cuts: Mapping[int, StitchedCut], measure: Measure) -> dict[str, Line]:
    """What each map costs by cut."""
    return {
        name: {cut: stitched.cost(name, measure=measure) for cut, stitched in cuts.items() if name in stitched.maps}
        for name in maps_of(cuts)
    }


def _control_lines(study: StitchingStudy, stitched: StitchedCut, measure: Measure) -> dict[str, Line]:
    """What the ridge costs the receiver before itself, and the front before the control."""
    lines = {}
    for direction in control_directions(study):
        cuts = study.directions[direction]
        control = study.at_middle(direction)
        itself = control.front == control.rest == stitched.rest
        beside = direction == BASE_TO_CONTROL and control.front == stitched.front
        if RIDGE in maps_of(cuts) and (itself or beside):
            name = "ridge, receiver to itself" if itself else f"ridge, {joined(control)}"
            lines[name] = _lines(cuts, measure)[RIDGE]
    return lines
