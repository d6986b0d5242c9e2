"""The experiments' figures: base blue, distilled orange, controls grey.

Each function returns a Figure of its own. An `Estimate` is drawn as a line through its values with a band between the
ends of its intervals, where it has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from toolkit.formatting import compact, number
from toolkit.reports.drawing import (
    FIRST,
    INK,
    MUTED,
    RULE,
    SECOND,
    STREAM_COLOURS,
    WIDTH,
    bars,
    blank,
    legend,
    line,
    percent_tick,
    quiet,
    stacked,
)
from toolkit.statistics.estimates import Estimate

# Both ends and the middle are seen on white and on black; text over them is dark.
DIVERGING = LinearSegmentedColormap.from_list("change", ["#4f94d4", "#a9b0b7", "#ee9550"])
ON_COLOUR = "#101214"
CONTROLS: tuple[dict[str, Any], ...] = (
    {"color": MUTED, "linestyle": "--"},
    {"color": MUTED, "linestyle": ":"},
    {"color": MUTED, "linestyle": "-."},
)
BINS_A_DOUBLING = 4
MODELS = {"base": FIRST, "distilled": SECOND}


def logit_change_histogram(
    changes: Mapping[str, Float[np.ndarray, " position"]],
    control: Float[np.ndarray, " control_position"],
    title: str,
) -> Figure:
    """Draw how an edit changed the target's logit at each position, by model.

    control: the last model's changes when as many other latents are removed; the outermost bars hold all that
    lies beyond them. Baek & Tegmark 2025, fig. 2.
    """
    last = list(changes)[-1]
    figure, axes = blank(2.5, f"{title} (n = {len(changes[last]):,})")
    together = np.concatenate([*changes.values(), control])
    edges = np.histogram_bin_edges(together, bins=30, range=tuple(np.quantile(together, [0.002, 0.998])))
    density: dict[str, Any] = {"bins": edges, "density": True}
    for name, values in changes.items():
        colour = MODELS.get(name, SECOND)
        label = f"{name}, mean {number(float(values.mean()))}"
        axes.hist(values.clip(edges[0], edges[-1]), **density, color=colour, alpha=0.45, label=label, linewidth=0)
        axes.axvline(values.mean(), color=colour, linewidth=0.9)
    label = f"control, {last}, mean {number(float(control.mean()))}"
    axes.hist(control.clip(edges[0], edges[-1]), **density, histtype="step", color=MUTED, linewidth=1, label=label)
    axes.axvline(0, color=RULE, linewidth=0.7, zorder=0)
    axes.set(xlabel="edited − unedited logit", yticks=[])
    axes.spines["left"].set_visible(False)
    legend(axes)
    return figure


def effect_by_fraction(
    fractions: Sequence[float],
    effects: Mapping[str, Mapping[str, Sequence[Estimate]]],
    title: str,
) -> Figure:
    """Draw an effect by the share of latents removed, a panel for each model, a line for each way to choose them.

    fractions: shares of one. effects: model to arm ("selected", "random", "matched") to one estimate a fraction; the
    first arm is the one asked about, the others are its controls. The last model has all arms, and the legend.
    """
    figure = Figure(figsize=(WIDTH, 2.5), layout="constrained")
    panels = figure.subplots(1, len(effects), sharey=True, squeeze=False)[0]
    for axes, (model, arms) in zip(panels, effects.items(), strict=True):
        quiet(axes, model)
        axes.axhline(0, color=RULE, linewidth=0.7, zorder=0)
        styles = ({"color": MODELS.get(model, SECOND)}, *CONTROLS)
        for (arm, estimates), style in zip(arms.items(), styles, strict=False):
            line(axes, fractions, estimates, label=arm, **style)
        axes.set(xscale="log", xlabel="of the latents removed")
        axes.set_xticks(list(fractions), [percent_tick(share) for share in fractions], rotation=45)
        axes.minorticks_off()
    panels[0].set_ylabel("change (logits)")
    legend(panels[-1])
    figure.suptitle(title, fontsize=9, color=INK, x=0.01, ha="left", parse_math=False)
    return figure


def effect_matrix(
    effects: Float[np.ndarray, "edited measured"], edited: Sequence[str], measured: Sequence[str], title: str
) -> Figure:
    """Draw what each edit (a row) did to each thing measured (a column), the number in its cell; NaN stays empty."""
    figure, axes = blank(0.9 + 0.34 * len(edited), title)
    largest = float(np.nanmax(np.abs(effects), initial=1e-9))
    axes.imshow(effects, cmap=DIVERGING, vmin=-largest, vmax=largest, aspect="auto")
    for (row, column), value in np.ndenumerate(effects):
        if np.isfinite(value):
            axes.text(column, row, f"{value:.2f}", color=ON_COLOUR, fontsize=7.5, ha="center", va="center")
    axes.set_xticks(range(len(measured)), measured, rotation=25, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(len(edited)), edited, parse_math=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="effect on", ylabel="edited")
    return figure


@dataclass(frozen=True, kw_only=True)
class DosePanel:
    """One measure by steering strength: along a latent, and along random directions."""

    name: str
    latent: Sequence[Estimate]
    """One estimate a strength."""
    best_random: Sequence[Estimate]
    """Of the random direction that did best where directions were picked."""


def dose_response(strengths: Sequence[float], panels: Sequence[DosePanel], latent: str = "latent") -> Figure:
    """Draw measures by steering strength, one over the other: the latent against random directions.

    latent: its name in the legend.
    """
    figure, rows = stacked(len(panels), 1.35)
    for axes, panel in zip(rows, panels, strict=True):
        quiet(axes, panel.name)
        axes.axvline(0, color=RULE, linewidth=0.7, zorder=0)
        line(axes, strengths, panel.best_random, color=MUTED, linestyle="--", label="best random direction")
        line(axes, strengths, panel.latent, color=SECOND, marker=".", label=latent)
    legend(rows[0])
    rows[-1].set_xlabel("strength (mean norms of the residual stream)")
    return figure


@dataclass(frozen=True, kw_only=True)
class LossQuantiles:
    """Evenly spaced quantiles of a model's losses, from least to largest, and those of its null."""

    loss: Float[np.ndarray, " quantile"]
    null: Float[np.ndarray, " null_quantile"]


def cdf_curves(classes: Mapping[str, Mapping[str, LossQuantiles]]) -> Figure:
    """Draw the share of losses below each value, a panel for each class, a colour for each model, its null dashed.

    classes: class to model to quantiles. Baek & Tegmark 2025, fig. 4.
    """
    n_rows = -(-len(classes) // 2)
    figure = Figure(figsize=(WIDTH, 0.5 + 1.6 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, 2, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, (name, models) in zip(panels, classes.items(), strict=False):
        quiet(axes, name)
        for (model, quantiles), colour in zip(models.items(), STREAM_COLOURS, strict=False):
            for values, style, label in ((quantiles.null, "--", None), (quantiles.loss, "-", model)):
                share = np.linspace(0, 1, len(values))
                axes.plot(values, share, color=colour, linestyle=style, linewidth=1, label=label)
        axes.set_ylim(0, 1)
    panels[0].plot([], [], color=MUTED, linestyle="--", linewidth=1, label="shuffled pairs")
    legend(panels[0])
    for axes in panels[len(classes) :]:
        axes.remove()
    figure.supxlabel("parallelogram loss", fontsize=8.5, color=INK)
    figure.supylabel("share of pairs of pairs below", fontsize=8.5, color=INK)
    return figure


def layer_curves(layers: Sequence[int], measures: Mapping[str, Sequence[Estimate]]) -> Figure:
    """Draw measures by layer, one over the other, the layer of the largest value marked."""
    figure, rows = stacked(len(measures), 1.3)
    for axes, (name, estimates) in zip(rows, measures.items(), strict=True):
        values = [estimate.value for estimate in estimates]
        top = int(np.nanargmax(values))
        quiet(axes, f"{name}, largest {number(values[top])} at layer {layers[top]}")
        line(axes, layers, estimates, color=FIRST, marker=".")
        axes.plot(layers[top], values[top], marker="o", color=SECOND, markersize=4, linestyle="")
    rows[-1].set_xlabel("input of layer")
    rows[-1].locator_params(axis="x", integer=True)
    return figure


def nu_histogram(
    nu: Mapping[str, Float[np.ndarray, "_"]], survives: Mapping[str, Bool[np.ndarray, "_"]], threshold: float
) -> Figure:
    """Draw the latent-scaling ratio ν of latents that look exclusive, a panel for each tag, survivors in colour.

    nu: tag to one value a latent; beyond [−0.25, 1.5] they count at the ends. survives: which of them the rule keeps.
    threshold: the ratio's part of that rule, marked. Minder et al. 2025.
    """
    figure, rows = stacked(len(nu), 1.5)
    for axes, (tag, values), colour in zip(rows, nu.items(), STREAM_COLOURS, strict=False):
        kept = survives[tag]
        quiet(axes, f"{tag}: {int(kept.sum()):,} of {len(values):,} survive")
        axes.axvline(threshold, color=MUTED, linestyle="--", linewidth=0.8)
        parts = [np.clip(part, -0.25, 1.5) for part in (values[kept], values[~kept])]
        labels = ["survive", "do not"]
        axes.hist(parts, bins=35, range=(-0.25, 1.5), stacked=True, color=[colour, RULE], label=labels, linewidth=0)
        axes.set_ylabel("latents")
        axes.locator_params(axis="y", integer=True)
        legend(axes)
    rows[-1].set_xlabel("ν: 0 one model's own, 1 shared by both")
    return figure


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """One crosscoder of a sweep."""

    n_latents: int
    l0: float
    """Latents firing a token."""
    fve: tuple[float, ...]
    """Fraction of variance explained, per stream."""


def fve_by_l0(points: Sequence[SweepPoint], streams: Sequence[str]) -> Figure:
    """Draw the variance explained by the latents that fire: a panel for each stream, a line for each size."""
    figure, panels = stacked(len(streams), 1.6)
    sizes = sorted({point.n_latents for point in points})
    for index, (axes, stream) in enumerate(zip(panels, streams, strict=True)):
        quiet(axes, stream)
        for number_of, size in enumerate(sizes):
            path = sorted((point.l0, point.fve[index]) for point in points if point.n_latents == size)
            colour = STREAM_COLOURS[number_of % len(STREAM_COLOURS)]
            axes.plot(*zip(*path, strict=True), color=colour, marker=".", linewidth=1.1, label=f"{size:,} latents")
        axes.set_ylabel("FVE")
    legend(panels[0])
    panels[-1].set_xlabel("L0: latents firing a token")
    return figure


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
    for place, estimate in enumerate(estimates.values()):
        ends = [end for end in (estimate.low, estimate.high) if end is not None]
        axes.plot(ends, [place] * len(ends), color=FIRST, linewidth=2, solid_capstyle="butt")
        axes.plot(estimate.value, place, marker="o", color=FIRST, markersize=4)
    axes.set_yticks(range(len(estimates)), list(estimates), parse_math=False)
    axes.set(ylim=(len(estimates) - 0.5, -0.5), xlabel=xlabel)
    return figure
