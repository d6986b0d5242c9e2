"""The parts that all figures share: colours by role, plain axes, and output as a PNG or as a part of a page."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from toolkit.statistics.estimates import Estimate

# Role: its colour on white, on black. The last four tell streams apart (after Okabe & Ito, for all eyes).
PALETTE = {
    "paper": ("#ffffff", "#15181b"),
    "ink": ("#1c2024", "#e4e7ea"),
    "muted": ("#60666d", "#9ea5ac"),
    "rule": ("#c3c8cd", "#454b51"),
    "band": ("#e9ecee", "#24292e"),
    "first": ("#0072b2", "#56b4e9"),
    "second": ("#c84f00", "#f0953f"),
    "third": ("#008060", "#3dbf94"),
    "fourth": ("#a5528c", "#d694bf"),
}
PAPER, INK, MUTED, RULE, BAND, FIRST, SECOND, *_ = (light for light, _ in PALETTE.values())
STREAM_COLOURS = [PALETTE[role][0] for role in ("first", "second", "third", "fourth")]
WIDTH = 4.2  # inches; with 8.5 pt text, half a page or the width of a phone
POINTS_PER_INCH = 72
CURVE_POINTS = 400
SMALL_PRINT: dict[str, Any] = {
    "fontsize": 7,
    "frameon": False,
    "labelcolor": INK,
    "handlelength": 1.4,
    "borderaxespad": 0.2,
}
"""How legends are set."""


def blank(height: float, title: str) -> tuple[Figure, Axes]:
    """Return a figure of the common width with one plain pair of axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    quiet(axes, title)
    return figure, axes


def stacked(n: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with n pairs of axes over one x-axis, each of about that height in inches."""
    figure = Figure(figsize=(WIDTH, 0.5 + height * n), layout="constrained")
    return figure, list(figure.subplots(n, 1, sharex=True, squeeze=False)[:, 0])


def bars(axes: Axes, edges: Float[np.ndarray, " edge"], counts: Int[np.ndarray, " bin"]) -> BarContainer:
    """Draw counts between edges, a little apart."""
    return axes.bar(edges[:-1], counts, width=0.92 * np.diff(edges), align="edge", color=FIRST)


def thinned(values: Sequence[Any], points: int = CURVE_POINTS) -> Float[np.ndarray, "point ..."]:
    """Return the values of a long run as means over neighbours, so many at most."""
    parts = np.array_split(np.array(values, dtype=float), min(points, len(values)))
    return np.stack([part.mean(axis=0) for part in parts])


def line(axes: Axes, x: Sequence[float | int], estimates: Sequence[Estimate], **style: Any) -> None:
    """Draw values as a line, with a band between the ends of their intervals where they have them."""
    axes.plot(x, [estimate.value for estimate in estimates], linewidth=1.1, markersize=3.5, **style)
    bounded = [(place, e.low, e.high) for place, e in zip(x, estimates, strict=True) if e.low is not None]
    if bounded:
        places, low, high = np.array(bounded, dtype=float).T
        axes.fill_between(places, low, high, color=style["color"], alpha=0.18, linewidth=0)


def legend(axes: Axes) -> None:
    """Name what is drawn, in small print."""
    axes.legend(**SMALL_PRINT)


def quiet(axes: Axes, title: str) -> None:
    """Remove the frame but for the sides with a scale; the title is shown as it is, dollar signs too."""
    axes.set_title(title, loc="left", fontsize=9, color=INK, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=RULE, linewidth=0.7)
    quiet_ticks(axes)
    axes.xaxis.label.set(color=INK, size=8.5)
    axes.yaxis.label.set(color=INK, size=8.5)


def quiet_ticks(axes: Axes) -> None:
    """Make ticks short and their labels pale."""
    axes.tick_params(which="both", color=RULE, labelcolor=MUTED, labelsize=8, length=2.5, width=0.7)


def percent_tick(share: float, _: object = None) -> str:
    """Write a tick that is a share of one."""
    return f"{share * 100:g} %"


def save_pngs(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Write each figure to `folder`, in the light theme."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=200, facecolor=PAPER)


@dataclass(frozen=True)
class Drawing:
    """A figure drawn as SVG, in the light theme's colours."""

    svg: str
    """The SVG elements inside the root element."""
    width: float
    """Width in points, as is the height."""
    height: float


def draw(figure: Figure) -> Drawing:
    """Draw a figure; the same figure gives the same bytes."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "figure"}):
        figure.savefig(buffer, format="svg", transparent=True, dpi=200, metadata={"Date": None})
    svg = buffer.getvalue()
    width, height = figure.get_size_inches() * POINTS_PER_INCH
    # What comes before names a DTD, a date and a fixed size.
    return Drawing(svg[svg.index("<defs") :], float(width), float(height))


def inline_svg(figure: Figure | Drawing, name: str, label: str) -> str:
    """Return `figure` as an SVG element for inline use.

    Text stays text, colours become the page's CSS variables, and every id begins with `name`, so that several
    figures can be in one document; `name` consists of letters, digits, - and _. `label` is read out by screen readers.
    The same figure gives the same bytes.
    """
    drawn = figure if isinstance(figure, Drawing) else draw(figure)
    drawing = drawn.svg
    for role, (light, _) in PALETTE.items():
        drawing = drawing.replace(light, f"var(--{role})")
    for mark in (' id="', "url(#", 'href="#'):
        drawing = drawing.replace(mark, f"{mark}{name}-")
    return f'<svg viewBox="0 0 {drawn.width:g} {drawn.height:g}" role="img" aria-label="{escape(label)}">\n{drawing}'
