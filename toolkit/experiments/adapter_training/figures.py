"""The figure of an adapter's training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from toolkit.formatting import compact, number
from toolkit.reports.drawing import FIRST, INK, SECOND, legend, quiet, stacked, thinned


def training_curves(records: Sequence[Mapping[str, Any]], n_latents: int) -> Figure:
    """Draw KL, NMSE, L0 and dead latents against the tokens trained on; records are as `metrics.jsonl` has them."""

    def curve(name: str) -> np.ndarray:
        return thinned([record[name] for record in records])

    figure, (kl, nmse, l0, dead) = stacked(4, 1.1)
    tokens, bridging = curve("tokens"), curve("bridging")
    quiet(kl, f"KL to the distilled model, nats a token, {number(curve('kl')[-1])} at the end")
    for place, name in enumerate(("adapter, then distilled", "distilled, then adapter")):
        kl.plot(tokens, bridging[:, place], color=(FIRST, SECOND)[place], linewidth=0.8, label=name)
    kl.plot(tokens, curve("kl"), color=INK, linewidth=1, label="adapter")
    kl.set_yscale("symlog", linthresh=0.1)
    legend(kl)
    for axes, name, title in ((nmse, "nmse", "NMSE of the streams"), (l0, "l0", "L0: latents firing on a token")):
        values = curve(name)
        quiet(axes, f"{title}, mean {number(values[-1].mean())} at the end")
        axes.plot(tokens, values.mean(axis=1), color=INK, linewidth=1, label="mean")
        for layer, colour in ((0, FIRST), (values.shape[1] - 1, SECOND)):
            axes.plot(tokens, values[:, layer], color=colour, linewidth=0.8, label=f"layer {layer}")
        legend(axes)
    l0.set_yscale("log")
    shares = curve("dead").mean(axis=1) / n_latents
    quiet(dead, f"share of latents dead, {number(shares[-1])} at the end")
    dead.plot(tokens, shares, color=INK, linewidth=1)
    dead.set_ylim(bottom=0)
    dead.set_xlabel("tokens trained on")
    dead.xaxis.set_major_formatter(lambda count, _: compact(count))
    return figure
