"""The figures of stitching: what each map costs by cut, by kind of position, and by rank."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from toolkit.reports.drawing import INK, MUTED, RULE, STREAM_COLOURS, WIDTH, line, quiet, stacked
from toolkit.statistics.estimates import Estimate

FIRST, SECOND, THIRD, FOURTH = STREAM_COLOURS
STYLES: dict[str, dict[str, Any]] = {
    "identity": {"color": MUTED, "linestyle": "--", "marker": "."},
    "mean_shift": {"color": FOURTH, "linestyle": "-", "marker": "."},
    "orthogonal": {"color": THIRD, "linestyle": "-", "marker": "."},
    "ridge": {"color": SECOND, "linestyle": "-", "marker": "."},
    "trained": {"color": FIRST, "linestyle": "", "marker": "D"},
    "trained_from_zero": {"color": FIRST, "linestyle": "", "marker": "x"},
}
CONTROL_STYLES: tuple[dict[str, Any], ...] = (
    {"color": MUTED, "linestyle": ":", "marker": "."},
    {"color": MUTED, "linestyle": "-.", "marker": "^"},
)
LINEAR = (0.01, 1.0)
"""Least and most nats a token up to which an axis is linear, on both sides of 0; beyond them it is logarithmic."""
KIND_HEIGHT = 0.34
CLOSEST = 1.4
"""Ranks whose ratio is less are too close for two labels."""

Line = Mapping[int, Estimate]
"""What a map costs, by cut or by rank."""


def plain_name(name: str) -> str:
    """A map as readers see it: trained_from_zero as "trained from zero"."""
    return name.replace("_", " ")


def costs_by_cut(panels: Mapping[str, tuple[Mapping[str, Line], Mapping[str, Line]]], unit: str) -> Figure:
    """Draw what maps cost by cut: a panel for each direction, with a line for each map and for each control.

    panels: by a direction's title, its maps' lines by map, and its controls' by their names in the legend.
    unit: what the costs are, at the axis.
    """
    figure, rows = stacked(len(panels), 1.9)
    for axes, (title, (maps, controls)) in zip(rows, panels.items(), strict=True):
        quiet(axes, title)
        for (name, costs), style in zip(controls.items(), CONTROL_STYLES, strict=False):
            line(axes, list(costs), list(costs.values()), label=name, **style)
        for name, costs in maps.items():
            line(axes, list(costs), list(costs.values()), label=plain_name(name), **STYLES[name])
        _signed_logarithmic(axes, "y", [each for costs in maps.values() for each in costs.values()])
        axes.set_ylabel(unit)
    rows[-1].set_xlabel("cut: layer of the receiver")
    rows[-1].locator_params(axis="x", integer=True)
    _legend_below(figure, rows)
    return figure


def costs_by_kind(panels: Mapping[str, Mapping[str, Mapping[str, Estimate]]], unit: str) -> Figure:
    """Draw what maps cost by kind of position: a panel for each direction, a row for each kind, a dot for each map.

    panels: by a direction's title, a map's costs by kind. unit: what the costs are, at the axis.
    """
    kinds = {kind: None for maps in panels.values() for costs in maps.values() for kind in costs}
    everything = [each for maps in panels.values() for costs in maps.values() for each in costs.values()]
    figure = Figure(figsize=(WIDTH, 0.9 + len(panels) * (0.3 + KIND_HEIGHT * len(kinds))), layout="constrained")
    rows = list(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0])
    for axes, (title, maps) in zip(rows, panels.items(), strict=True):
        quiet(axes, title)
        for number, (name, costs) in enumerate(maps.items()):
            style = STYLES[name]
            shift = 0.7 * ((number + 0.5) / len(maps) - 0.5)
            marker = {"marker": style["marker"].replace(".", "o"), "markersize": 3.5, "linestyle": ""}
            places = [list(kinds).index(kind) + shift for kind in costs]
            for place, each in zip(places, costs.values(), strict=True):
                ends = [end for end in (each.low, each.high) if end is not None]
                axes.plot(ends, [place] * len(ends), color=style["color"], linewidth=1.4, solid_capstyle="butt")
            values = [each.value for each in costs.values()]
            axes.plot(values, places, color=style["color"], label=plain_name(name), **marker)
        axes.set_yticks(range(len(kinds)), list(kinds))
        axes.set_ylim(len(kinds) - 0.5, -0.5)
        _signed_logarithmic(axes, "x", everything)
    rows[-1].set_xlabel(unit)
    _legend_below(figure, rows)
    return figure


def costs_by_rank(lines: Mapping[str, Line], margin: float, unit: str) -> Figure:
    """Draw what a ridge map of less rank costs more than the whole one, by rank: a line for each direction.

    margin: below it a map counts as good as the whole one; marked. unit: what the costs are, at the axis.
    """
    figure, (axes,) = stacked(1, 1.9)
    quiet(axes, "Ridge maps of less rank, against the whole one")
    for (name, costs), colour in zip(lines.items(), STREAM_COLOURS, strict=False):
        line(axes, list(costs), list(costs.values()), label=name, color=colour, marker=".")
    axes.axhline(margin, color=MUTED, linestyle="--", linewidth=0.8, label=f"{margin:g} nats")
    ranks = sorted({rank for costs in lines.values() for rank in costs})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ranks, [str(rank) if rank in _apart(ranks) else "" for rank in ranks])
    axes.xaxis.set_minor_locator(NullLocator())
    _signed_logarithmic(axes, "y", [each for costs in lines.values() for each in costs.values()])
    axes.set(xlabel="rank of the map", ylabel=unit)
    _legend_below(figure, [axes])
    return figure


def _apart(ranks: Sequence[int]) -> set[int]:
    """The ranks whose labels do not touch on a logarithmic axis; of two that are close, the larger."""
    return {rank for rank, after in zip(ranks, [*ranks[1:], np.inf], strict=True) if after >= CLOSEST * rank}


def _signed_logarithmic(axes: Axes, axis: str, drawn: Iterable[Estimate]) -> None:
    """Make an axis logarithmic away from 0 on both sides, with 0 marked, and linear below most of what is drawn."""
    typical = float(np.median([abs(each.value) for each in drawn]))
    linear = float(np.clip(10 ** np.floor(np.log10(max(typical, LINEAR[0]))), *LINEAR))
    set_scale, mark = (axes.set_yscale, axes.axhline) if axis == "y" else (axes.set_xscale, axes.axvline)
    set_scale("symlog", linthresh=linear)
    mark(0, color=RULE, linewidth=0.7, zorder=0)
    of_axis = axes.yaxis if axis == "y" else axes.xaxis
    of_axis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
    of_axis.set_minor_locator(NullLocator())


def _legend_below(figure: Figure, rows: Sequence[Axes]) -> None:
    """Name what any panel draws, each once, below them all."""
    named: dict[str, Any] = {}
    for axes in rows:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    figure.legend(
        named.values(),
        named.keys(),
        loc="outside lower left",
        ncols=3,
        fontsize=7,
        frameon=False,
        labelcolor=INK,
        handlelength=1.6,
    )
