"""The lattice as a table, a figure, a claim, and numbers for a file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toolkit.experiments.harmonic_probes.lattice import (
    CROSS_ENTROPY,
    EXPONENTS,
    PROBLEMS,
    SIDE,
    TRAINING,
    Lattices,
    TrainedLattice,
    name_of,
)
from toolkit.formatting import percent
from toolkit.geometry.components import Components
from toolkit.reports.drawing import FIRST, MUTED, RULE, SECOND, WIDTH, quiet
from toolkit.reports.findings import Table
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.seeds import difference_of_seeds, mean_of_seeds
from toolkit.statistics.verdicts import Claim, Margin

FLAT, NOT_FLAT = 0.99, 0.9
"""Embeddings with a larger share of their variance in a plane are flat; with a smaller than the second, not."""
ONE_SEED = "one seed: nothing says how another would differ"


def lattice_table(lattices: Lattices) -> Table:
    """Each loss's share of variance in a plane, with its interval over seeds, and what is learned."""
    return Table(
        title="Embeddings of a 5 × 5 lattice: share of their variance in a plane",
        columns=("loss", "share in a plane", "least", "largest", "held-out accuracy", "less cross-entropy"),
        rows=[_row(name, lattices) for name in lattices],
        note=f"A plane: the first two principal components of {SIDE**2} embeddings. {TRAINING} problems train,"
        f" {PROBLEMS - TRAINING} are held out; accuracy is the least of all seeds'. Intervals at 95 % over"
        f" {_seeds(lattices)} seeds.",
    )


def lattice_claim(lattices: Lattices) -> Claim:
    """By the harmonic loss the lattice lies in a plane, and by cross-entropy it does not."""
    plane = {name: _over_seeds(in_plane(trained)) for name, trained in lattices.items()}
    harmonic = [
        Margin(over=f"{FLAT:g} ({name})", difference=each.reflected(FLAT).reflected())
        for name, each in plane.items()
        if name != CROSS_ENTROPY
    ]
    plain = Margin(
        over=f"what cross-entropy lacks to {NOT_FLAT:g}", difference=plane[CROSS_ENTROPY].reflected(NOT_FLAT)
    )
    return Claim(
        name="the harmonic loss lays the lattice in a plane, cross-entropy does not",
        effect=plane[name_of(EXPONENTS[0])],
        margins=(*harmonic, plain),
        n=_seeds(lattices),
    )


def lattice_results(lattices: Lattices) -> dict[str, Any]:
    """Shares of variance in a plane: of all harmonic networks, of all plain ones, and of each loss by seed."""
    harmonic = [share for name, trained in lattices.items() if name != CROSS_ENTROPY for share in in_plane(trained)]
    return {
        "harmonic": harmonic,
        "cross_entropy": in_plane(lattices[CROSS_ENTROPY]),
        "by_loss": {
            name: {"in_plane": in_plane(trained), "accuracy": [each.accuracy for each in trained]}
            for name, trained in lattices.items()
        },
    }


def lattice_figure(lattices: Lattices) -> Figure:
    """Draw the first seed's embeddings along their first two components, a panel for each loss.

    Lines join neighbours of the lattice: blue along its rows, orange along its columns.
    """
    figure = Figure(figsize=(WIDTH, 0.6 + WIDTH / len(lattices)), layout="constrained")
    panels = figure.subplots(1, len(lattices), squeeze=False)[0]
    for axes, (name, trained) in zip(panels, lattices.items(), strict=True):
        _draw_lattice(axes, name, trained[0])
    return figure


def in_plane(trained: Sequence[TrainedLattice]) -> list[float]:
    """Each seed's share of variance in a plane."""
    return [each.in_plane for each in trained]


def _draw_lattice(axes: Axes, name: str, trained: TrainedLattice) -> None:
    quiet(axes, name.replace(", ", ",\n"))
    points = Components.fit(trained.embeddings).project(trained.embeddings, 2).numpy().reshape(SIDE, SIDE, 2)
    lines: tuple[tuple[Float[np.ndarray, "line point 2"], str], ...] = (
        (points, FIRST),
        (points.swapaxes(0, 1), SECOND),
    )
    for parallel, colour in lines:
        for each in parallel:
            axes.plot(*each.T, color=colour, linewidth=0.9)
    axes.plot(*points.reshape(-1, 2).T, linestyle="", marker="o", markersize=2.5, color=MUTED)
    axes.set(
        xlabel=f"{percent(trained.in_plane)} in a plane", xticks=[], yticks=[], aspect="equal", adjustable="datalim"
    )
    axes.spines[["left", "bottom"]].set(color=RULE)


def _row(name: str, lattices: Lattices) -> list[str | float | Estimate | None]:
    shares, plain = in_plane(lattices[name]), in_plane(lattices[CROSS_ENTROPY])
    difference = None if name == CROSS_ENTROPY else difference_of_seeds(shares, plain)
    accuracy = min(each.accuracy for each in lattices[name])
    return [name, _over_seeds(shares), min(shares), max(shares), accuracy, difference]


def _over_seeds(shares: Sequence[float]) -> Estimate:
    mean = mean_of_seeds(shares).within(0.0, 1.0)
    return replace(mean, note=ONE_SEED) if len(shares) == 1 else mean


def _seeds(lattices: Lattices) -> int:
    return len(lattices[CROSS_ENTROPY])
