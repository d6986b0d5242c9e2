"""Figures of adapters: measures by layer, or by number of layers, several lines beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from toolkit.formatting import compact
from toolkit.reports.drawing import MUTED, STREAM_COLOURS, WIDTH, legend, line, quiet
from toolkit.statistics.estimates import Estimate


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines over one x-axis; those that are named as controls are grey."""

    title: str
    xlabel: str
    x: Sequence[float] | Sequence[int]
    lines: Mapping[str, Sequence[Estimate]]
    controls: Sequence[str] = ()
    doublings: bool = False
    """Whether the x-axis is in steps of a factor of two."""


def line_panels(panels: Sequence[Panel]) -> Figure:
    """Draw panels one over the other, each with its own x-axis."""
    figure = Figure(figsize=(WIDTH, 0.3 + 1.7 * len(panels)), layout="constrained")
    for axes, panel in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        quiet(axes, panel.title)
        colours = iter(STREAM_COLOURS)
        for name, estimates in panel.lines.items():
            style = {"color": MUTED, "linestyle": "--"} if name in panel.controls else {"color": next(colours)}
            line(axes, panel.x, estimates, label=name, marker=".", **style)
        axes.set_xlabel(panel.xlabel)
        if panel.doublings:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda count, _: compact(count))
        elif all(float(x).is_integer() for x in panel.x):
            axes.locator_params(axis="x", integer=True)
        if len(panel.lines) > 1:
            legend(axes)
    return figure
