"""The figures of harmonic probes: accuracy by layer and by number of tokens."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from toolkit.experiments.harmonic_probes.accuracy import KINDS
from toolkit.experiments.harmonic_probes.results import Compared, ProbesFound
from toolkit.formatting import compact
from toolkit.reports.drawing import INK, MUTED, SMALL_PRINT, STREAM_COLOURS, WIDTH, line, quiet

DASHES = {"logistic": "-", "harmonic": "--"}


def accuracy_by_layer(found: ProbesFound) -> Figure:
    """Draw both probes' accuracy by layer, a panel for each label, a colour for each model."""
    figure, panels = _panels(len(found.labels))
    for axes, (name, label) in zip(panels, found.labels.items(), strict=True):
        quiet(axes, name)
        axes.axhline(label.chance, color=MUTED, linestyle=":", linewidth=0.9)
        curves = {model: {layer: by_model[model] for layer, by_model in label.layers.items()} for model in found.models}
        _draw(axes, curves)
        axes.set_xlabel("input of layer")
        axes.locator_params(axis="x", integer=True)
    return _finished(figure, panels)


def accuracy_by_tokens(found: ProbesFound) -> Figure:
    """Draw the same by the number of tokens that fit a probe, at the shown layer."""
    figure, panels = _panels(len(found.labels))
    for axes, (name, label) in zip(panels, found.labels.items(), strict=True):
        quiet(axes, name)
        axes.axhline(label.chance, color=MUTED, linestyle=":", linewidth=0.9)
        _draw(axes, {model: label.data[model].by_tokens for model in found.models})
        numbers = sorted({n for data in label.data.values() for n in data.by_tokens})
        axes.set(xscale="log", xlabel="fitting tokens")
        axes.set_xticks([numbers[0], numbers[-1]], [compact(numbers[0]), compact(numbers[-1])])
        axes.xaxis.set_minor_locator(NullLocator())
    return _finished(figure, panels)


def _panels(n: int) -> tuple[Figure, Sequence[Axes]]:
    n_rows = -(-n // 2)
    figure = Figure(figsize=(WIDTH, 0.8 + 1.75 * n_rows), layout="constrained")
    panels = list(figure.subplots(n_rows, min(n, 2), squeeze=False).flatten())
    for axes in panels[n:]:
        axes.remove()
    return figure, panels[:n]


def _draw(axes: Axes, curves: Mapping[str, Mapping[int, Compared]]) -> None:
    for (model, by_place), colour in zip(curves.items(), STREAM_COLOURS, strict=False):
        for kind in KINDS:
            estimates = [getattr(each, kind) for each in by_place.values()]
            line(axes, list(by_place), estimates, color=colour, linestyle=DASHES[kind], label=f"{kind}, {model}")


def _finished(figure: Figure, panels: Sequence[Axes]) -> Figure:
    panels[0].plot([], [], color=MUTED, linestyle=":", linewidth=0.9, label="chance")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3, **SMALL_PRINT)
    figure.supylabel("balanced accuracy", fontsize=8.5, color=INK)
    return figure
