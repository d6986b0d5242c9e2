"""The figure of an attribution graph's tested edges."""

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from toolkit.reports.drawing import FIRST, MUTED, RULE, SECOND, blank, legend


def predicted_and_measured(
    predicted: Float[np.ndarray, " edge"],
    measured: Float[np.ndarray, " edge"],
    into_logits: Bool[np.ndarray, " edge"],
) -> Figure:
    """Draw the measured change of each edge's target over the predicted one; on the dashed line they are equal."""
    figure, axes = blank(2.6, f"Change without the source (n = {len(predicted):,} edges)")
    axes.axhline(0, color=RULE, linewidth=0.7, zorder=0)
    ends = (min(0.0, float(predicted.min())), max(0.0, float(predicted.max())))
    axes.plot(ends, ends, color=MUTED, linestyle="--", linewidth=0.9, label="equal")
    for kind, colour, name in ((into_logits, SECOND, "into next tokens"), (~into_logits, FIRST, "into latents")):
        axes.plot(predicted[kind], measured[kind], ".", color=colour, markersize=4, alpha=0.7, label=name)
    axes.set(xlabel="predicted: the edge's weight", ylabel="measured")
    legend(axes)
    return figure
