"""The figures of a trained crosscoder, quiet enough that the data speaks.

Each function returns a Figure of its own and touches no global state. Colours come from the theme by
role (`INK`, `FIRST`, …): a PNG shows the light ones, and the page's SVG follows the reader's theme.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from toolkit.dictionaries.stability import PERSISTS
from toolkit.formatting import compact, estimate, number
from toolkit.reports.drawing import (
    BAND,
    INK,
    MUTED,
    SECOND,
    STREAM_COLOURS,
    WIDTH,
    bars,
    blank,
    legend,
    percent_tick,
    quiet,
    quiet_ticks,
    thinned,
)
from toolkit.statistics.estimates import Estimate

# Blue to orange at middling lightness: seen on white, on black, and by the colour-blind.
RATE_COLOURS = LinearSegmentedColormap.from_list("rate", ["#3f7fc4", "#8f8d96", "#dd7a1f"])

NRN_BINS, MATCH_BINS = 20, 40


def nrn_histogram(nrn_alive: Float[np.ndarray, "alive"], mean: Estimate | None = None, neutral: float = 0.5) -> Figure:
    """Draw how many alive latents lie at each normalised relative norm, the count over each bar.

    nrn_alive: one value an alive latent, in [0, 1]; NaN (both decoder rows zero) is left out.
    mean: with its 95 % interval. neutral: NRN of a latent that leans toward neither model, marked.
    Baek & Tegmark 2025, fig. 2.
    """
    values = nrn_alive[np.isfinite(nrn_alive)]
    figure, axes = blank(2.6, f"Alive latents by relative decoder norm (n = {len(values):,})")
    counts, edges = np.histogram(values, bins=NRN_BINS, range=(0, 1))
    labels = [compact(count) if count else "" for count in counts.tolist()]
    axes.bar_label(bars(axes, edges, counts), labels, padding=1.5, fontsize=6, color=MUTED)
    axes.set(ylim=(0, max(1, counts.max()) * 1.12), ylabel="latents")
    _nrn_axis(axes)
    axes.axvline(neutral, color=INK, linestyle=":", linewidth=0.9, label="neutral")
    axes.text(
        0.98, 0.96, f"neutral {neutral:.3f}", color=INK, fontsize=7.5, ha="right", va="top", transform=axes.transAxes
    )
    if mean is not None and mean.low is not None and mean.high is not None:
        value, ends = estimate(mean.value, mean.low, mean.high)
        axes.axvspan(mean.low, mean.high, color=SECOND, alpha=0.25, linewidth=0)
        axes.axvline(mean.value, color=SECOND, linewidth=0.9)
        label = f"mean {value}\n95 % CI {ends}"
        axes.text(0.02, 0.96, label, color=SECOND, fontsize=7.5, va="top", transform=axes.transAxes)
    return figure


def cosine_against_nrn(
    cosine: Float[np.ndarray, "alive"],
    nrn: Float[np.ndarray, "alive"],
    firing_rate: Float[np.ndarray, "alive"],
    null: Float[np.ndarray, "pair"],
) -> Figure:
    """Draw each alive latent by NRN and by the cosine between its two decoder rows, coloured by firing rate.

    The grey band holds 95 % of `null`, the cosines between rows of different latents. Latents without a
    cosine (one row zero) or that never fire on the held-out tokens are left out.
    """
    drawn = np.isfinite(cosine) & np.isfinite(nrn) & (firing_rate > 0)
    null = null[np.isfinite(null)]
    figure, axes = blank(3.1, f"Decoder cosine by relative norm (n = {drawn.sum():,})")
    if len(null):
        axes.axhspan(*np.quantile(null, [0.025, 0.975]), color=BAND, linewidth=0, zorder=0)
        axes.text(0.012, float(np.mean(null)), "95 % of random pairs", color=MUTED, fontsize=7, va="center")
    rate = firing_rate[drawn]
    shades = LogNorm(rate.min(), max(rate.max(), rate.min() * 10)) if len(rate) else None
    order = np.argsort(rate)  # the rare on top would hide the frequent; there are few of those
    points = axes.scatter(
        nrn[drawn][order], cosine[drawn][order], c=rate[order], cmap=RATE_COLOURS, norm=shades,
        s=5, linewidth=0, alpha=0.75, rasterized=True, clip_on=False, zorder=2,
    )  # fmt: skip
    axes.set(ylim=(min(-0.25, cosine[drawn].min(initial=0)), 1), ylabel="cosine of the two decoder rows")
    _nrn_axis(axes)
    bar = figure.colorbar(points, ax=axes, aspect=40, pad=0.03, format=percent_tick)
    bar.set_label("fires on … of the tokens", color=INK, size=8.5)
    bar.outline.set_visible(False)
    quiet_ticks(bar.ax)
    bar.ax.minorticks_off()
    return figure


def training_curves(records: Sequence[Mapping[str, Any]], streams: Sequence[str] = ("base", "distilled")) -> Figure:
    """Draw loss, fraction of variance explained, L0 and dead share against the tokens trained on.

    records: rows with `tokens`, `loss`, `fve` (one value a stream), `l0`, `dead_share`; long runs are
    averaged over neighbouring steps, as `thinned` does.
    """

    def curve(name: str) -> np.ndarray:
        return thinned([record[name] for record in records])

    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    loss, explained, l0, dead = figure.subplots(4, sharex=True, height_ratios=[1, 1.25, 1, 1])
    tokens, fve = curve("tokens"), curve("fve")
    for axes, name, title in (
        (loss, "loss", "loss"),
        (l0, "l0", "L0: latents firing on a token"),
        (dead, "dead_share", "share of latents dead"),
    ):
        values = curve(name)
        quiet(axes, f"{title}, {number(values[-1])} at the end")
        axes.plot(tokens, values, color=INK, linewidth=1)
    quiet(explained, "variance explained")
    for place, stream in enumerate(streams):
        again, colour = divmod(place, len(STREAM_COLOURS))
        style = {"color": STREAM_COLOURS[colour], "linestyle": "--" if again else "-", "linewidth": 1}
        explained.plot(tokens, fve[:, place], label=f"{stream} {number(fve[-1, place])}", **style)
    above = 0.97 if len(streams) <= 2 else 1.22  # two names fit beside the title, more stand over it
    explained.legend(
        loc="lower right", bbox_to_anchor=(1, above), borderaxespad=0, ncols=2, fontsize=7.5,
        frameon=False, labelcolor="linecolor", handlelength=1, columnspacing=1,
    )  # fmt: skip
    # On a scale that holds the first steps' climb, the rest would be flat.
    explained.set_ylim(fve[len(fve) // 8 :].min() - 0.02, 1)
    loss.set_yscale("log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    loss.yaxis.set_minor_locator(NullLocator())
    loss.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    l0.set_ylim(bottom=0)
    dead.set_ylim(bottom=0)
    dead.set_xlabel("tokens trained on")
    dead.xaxis.set_major_formatter(lambda count, _: compact(count))
    return figure


def firing_histogram(firing_rate: Float[np.ndarray, "latent"]) -> Figure:
    """Draw how often latents fire, five bins a decade; those that never fire are counted in words.

    firing_rate: share of held-out tokens on which each latent fires, in [0, 1].
    """
    fired = firing_rate[firing_rate > 0]
    n_silent = len(firing_rate) - len(fired)
    figure, axes = blank(2.2, f"How often latents fire (n = {len(fired):,})")
    exponents = np.log10(fired)
    decades = int(max(1, np.ceil(-exponents.min(initial=0))))
    counts, edges = np.histogram(exponents, bins=5 * decades, range=(-decades, 0))
    edges = 10**edges
    bars(axes, edges, counts)
    axes.set(xscale="log", xlim=(edges[0], 1), ylabel="latents", xlabel="fires on … of the held-out tokens")
    axes.set_ylim(0, max(1, counts.max()) * 1.15)  # what follows stands over the bars
    axes.xaxis.set_major_formatter(percent_tick)
    silent = f"{n_silent:,} of {len(firing_rate):,} never fire"
    axes.text(0.99, 0.95, silent, color=MUTED, fontsize=7.5, ha="right", va="top", transform=axes.transAxes)
    return figure


def best_matches(best: Float[np.ndarray, " latent"], chance: Float[np.ndarray, " latent"]) -> Figure:
    """Draw how well latents are found again in the crosscoders of other seeds, over the same by chance.

    best: largest cosine with any latent of another crosscoder, one value a latent and other crosscoder; chance: the
    same with random directions.
    """
    low = min(0.0, float(best.min()), float(chance.min()))
    counts, edges = np.histogram(best, bins=MATCH_BINS, range=(low, 1))
    by_chance, _ = np.histogram(chance, bins=edges)
    figure, axes = blank(2.2, f"Best match in another seed's crosscoder (n = {len(best):,})")
    bars(axes, edges, counts)
    axes.stairs(by_chance, edges, color=SECOND, linewidth=1, label="by chance")
    axes.axvline(PERSISTS, color=MUTED, linewidth=0.8, linestyle=":", label="persists from here")
    axes.set(xlim=(low, 1), ylabel="latents", xlabel="cosine of decoder rows")
    legend(axes)
    return figure


def _nrn_axis(axes: Axes) -> None:
    """Let x run from base only to distilled only."""
    axes.set_xlim(0, 1)
    ticks = {0: "0\nbase only", 0.25: ".25", 0.5: ".5\nshared", 0.75: ".75", 1: "1\ndistilled only"}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlabel("normalised relative norm (NRN)", labelpad=2)
