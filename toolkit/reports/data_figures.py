"""The figures about text: how long documents are, and how well it is predicted."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from toolkit.reports.drawing import FIRST, bars, blank
from toolkit.reports.formatting import compact
from toolkit.statistics import Estimate

BINS_A_DOUBLING = 4


def length_bins(longest: int) -> Float[np.ndarray, " edge"]:
    """Edges of bins, four a doubling, from 1 to beyond `longest`."""
    doublings = int(np.floor(np.log2(longest) * BINS_A_DOUBLING)) + 1
    return 2 ** (np.arange(doublings + 1) / BINS_A_DOUBLING)


def length_histogram(counts: Int[np.ndarray, " bin"], edges: Float[np.ndarray, " edge"]) -> Figure:
    """Draw how many documents have how many tokens, given their counts in `length_bins`."""
    figure, axes = blank(2.2, f"Tokens of a text (n = {counts.sum():,})")
    bars(axes, edges, counts)
    shortest = int(np.flatnonzero(counts)[0])
    axes.set_xscale("log", base=2)
    axes.set(xlim=(edges[shortest], edges[-1]), ylabel="texts", xlabel="tokens")
    axes.xaxis.set_major_formatter(lambda count, _: compact(count))
    axes.xaxis.set_minor_locator(NullLocator())
    return figure


def estimates_by_name(estimates: Mapping[str, Estimate], title: str, xlabel: str) -> Figure:
    """Draw one estimate a line, its name at the left, its interval as a bar."""
    figure, axes = blank(0.8 + 0.22 * len(estimates), title)
    for line, estimate in enumerate(estimates.values()):
        ends = [end for end in (estimate.low, estimate.high) if end is not None]
        axes.plot(ends, [line] * len(ends), color=FIRST, linewidth=2, solid_capstyle="butt")
        axes.plot(estimate.value, line, marker="o", color=FIRST, markersize=4)
    axes.set_yticks(range(len(estimates)), list(estimates), parse_math=False)
    axes.set(ylim=(len(estimates) - 0.5, -0.5), xlabel=xlabel)
    return figure
