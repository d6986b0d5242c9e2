"""What the figures share: their width, the theme's colours by role, and axes that keep quiet."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from toolkit.reports.theme import PALETTE

PAPER, INK, MUTED, RULE, BAND, FIRST, SECOND, *_ = (light for light, _ in PALETTE.values())
STREAM_COLOURS = [PALETTE[role][0] for role in ("first", "second", "third", "fourth")]
WIDTH = 4.2  # inches; with 8.5 pt text, half a page or the width of a phone


def blank(height: float, title: str) -> tuple[Figure, Axes]:
    """Return a figure of the common width with one quiet pair of axes."""
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


def quiet(axes: Axes, title: str) -> None:
    """Leave of the frame only what carries the scale; the title is text as it stands, dollar signs too."""
    axes.set_title(title, loc="left", fontsize=9, color=INK, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=RULE, linewidth=0.7)
    quiet_ticks(axes)
    axes.xaxis.label.set(color=INK, size=8.5)
    axes.yaxis.label.set(color=INK, size=8.5)


def quiet_ticks(axes: Axes) -> None:
    """Make ticks short and their labels pale."""
    axes.tick_params(which="both", color=RULE, labelcolor=MUTED, labelsize=8, length=2.5, width=0.7)


def nrn_axis(axes: Axes) -> None:
    """Let x run from base only to distilled only."""
    axes.set_xlim(0, 1)
    ticks = {0: "0\nbase only", 0.25: ".25", 0.5: ".5\nshared", 0.75: ".75", 1: "1\ndistilled only"}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlabel("normalised relative norm (NRN)", labelpad=2)


def percent_tick(share: float, _: object = None) -> str:
    """Write a tick that is a share of one."""
    return f"{share * 100:g} %"


def save_pngs(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Write each figure to `folder`, in the light theme."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=200, facecolor=PAPER)
