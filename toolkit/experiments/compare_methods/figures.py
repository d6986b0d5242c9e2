"""The figure of the comparison: every method between what chance reaches and what a probe reaches."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from toolkit.reports.drawing import FIRST, INK, MUTED, RULE, SECOND, WIDTH, quiet
from toolkit.statistics.estimates import Estimate

ROW_HEIGHT = 0.155


def between_floor_and_ceiling(
    found: Mapping[str, Estimate],
    floors: Mapping[str, Estimate],
    ceiling: Estimate,
    shows: Mapping[str, bool],
    title: str,
) -> Figure:
    """Draw one behaviour: a dot with its interval for each method, lines for both floors and for the probe.

    Methods that `shows` says beat the floor are orange.
    """
    figure = Figure(figsize=(WIDTH, 0.75 + ROW_HEIGHT * len(found)), layout="constrained")
    axes = figure.subplots()
    quiet(axes, title)
    for (name, floor), style in zip(floors.items(), ("--", ":"), strict=False):
        axes.axvline(floor.value, color=MUTED, linestyle=style, linewidth=0.9, label=name, zorder=0)
    axes.axvline(ceiling.value, color=RULE, linewidth=1.4, label="linear probe", zorder=0)
    for place, (name, estimate) in enumerate(found.items()):
        colour = SECOND if shows[name] else FIRST
        ends = [end for end in (estimate.low, estimate.high) if end is not None]
        axes.plot(ends, [place] * len(ends), color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(estimate.value, place, marker="o", color=colour, markersize=3.5, linestyle="")
    axes.set_yticks(range(len(found)), list(found), parse_math=False)
    axes.tick_params(axis="y", labelsize=7.5)
    axes.set(ylim=(len(found) - 0.5, -0.5), xlabel="AUROC of the best unit")
    axes.legend(
        fontsize=7,
        frameon=False,
        labelcolor=INK,
        handlelength=1.4,
        ncols=3,
        loc="upper center",
        bbox_to_anchor=(0.3, -0.28),
    )
    return figure
