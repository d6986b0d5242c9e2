"""One figure of the repons, and one of the graph."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from toolkit.experiments.geneft.measure import DESCENT, Autoencoders, Repons
from toolkit.experiments.geneft.repons import DIE, MEET, UNDECIDED
from toolkit.reports.drawing import FIRST, INK, MUTED, RULE, SECOND, WIDTH, blank, legend, line, quiet
from toolkit.reports.figures import DIVERGING, ON_COLOUR

OUTCOMES = {MEET: ("repons meet", FIRST, "o"), DIE: ("decoder dies", SECOND, "s"), UNDECIDED: ("neither", INK, "x")}


def phase_diagram(repons: Repons) -> Figure:
    """Draw every draw by the two parts of its conserved quantity, in the colour of what gradient descent made of it."""
    draws, outcome = repons.draws, repons.outcomes[DESCENT]
    figure, axes = blank(3.2, f"What gradient descent does (n = {len(outcome):,} draws)")
    for number, (name, colour, marker) in OUTCOMES.items():
        at = outcome == number
        x, y = draws.distance_share[at].numpy(), draws.decoder_share[at].numpy()
        axes.plot(x, y, marker, color=colour, markersize=2.6, alpha=0.75, label=f"{name}: {int(at.sum()):,}")
    both = np.concatenate([draws.distance_share.numpy(), draws.decoder_share.numpy()])
    ends = [both.min(), both.max()]
    axes.plot(ends, ends, color=RULE, linewidth=1, zorder=0, label="predicted boundary")
    axes.set(xscale="log", yscale="log", xlabel="c²/η$_x$ at the start", ylabel="A²/(2η$_A$) at the start")
    legend(axes)
    return figure


def graph_phases(
    by_rates: Sequence[Autoencoders], by_fraction: Mapping[str, Sequence[Autoencoders]], least_fraction: float
) -> Figure:
    """Draw test accuracy by both learning rates, and by the share of the pairs that is trained on."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1)
    encoder_rates, decoder_rates = (
        sorted({getattr(each, name) for each in by_rates}) for name in ("encoder_rate", "decoder_rate")
    )
    tested = np.array([each.tested.value for each in by_rates]).reshape(len(encoder_rates), len(decoder_rates))
    quiet(above, f"Test accuracy, {by_rates[0].fraction:.0%} of pairs trained on")
    above.imshow(tested, cmap=DIVERGING, vmin=0.5, vmax=1, aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(tested):
        above.text(column, row, f"{value:.2f}", color=ON_COLOUR, fontsize=7.5, ha="center", va="center")
    above.set_xticks(range(len(decoder_rates)), [f"{rate:g}" for rate in decoder_rates])
    above.set_yticks(range(len(encoder_rates)), [f"{rate:g}" for rate in encoder_rates])
    above.tick_params(length=0)
    above.spines[:].set_visible(False)
    above.set(xlabel="decoder's learning rate", ylabel="encoder's learning rate")
    quiet(below, "Test accuracy by the share of pairs trained on")
    below.axvline(least_fraction, color=MUTED, linestyle=":", linewidth=1, label="information bound")
    for (name, scan), colour, style in zip(by_fraction.items(), (FIRST, SECOND), ("-", "--"), strict=True):
        fractions = [each.fraction for each in scan]
        line(below, fractions, [each.tested for each in scan], color=colour, linestyle=style, marker=".", label=name)
    below.set(xlabel="share of the 435 pairs", ylabel="test accuracy", xlim=(0, 1))
    legend(below)
    return figure
