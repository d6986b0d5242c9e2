"""Where in an answer an adapter's latents fire: how many a token, and where their activation lies."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from toolkit.experiments.adapter_latents.measure import AdapterLatents
from toolkit.latents.regions import REGIONS, TENTHS
from toolkit.reports.drawing import FIRST, INK, MUTED, SECOND, legend, line, percent_tick, quiet, stacked
from toolkit.statistics.estimates import mean

LEGEND_LAYERS = 8
SHORT = ("question", *(f"{TENTHS * tenth} %" for tenth in range(TENTHS)), "answer")
DEPTH = LinearSegmentedColormap.from_list("depth", [FIRST, SECOND])


def region_figure(found: AdapterLatents) -> Figure:
    """Draw, by region and layer, the latents that fire on a token, and the mean share of a latent's activation."""
    n_layers, places = found.regions.n_layers, range(len(REGIONS))
    figure, (firing, share) = stacked(2, 1.9)
    quiet(firing, "Latents of a layer that fire on a token")
    quiet(share, "Mean share of a latent's activation")
    shares = found.regions.shares.T.unflatten(0, (n_layers, -1))  # [layer, latent, region]
    tokens = found.regions.token_shares.tolist()
    share.plot(places, tokens, color=MUTED, linestyle="--", linewidth=1, label="share of tokens")
    for layer in range(n_layers):
        colour = DEPTH(layer / max(1, n_layers - 1))
        named = n_layers <= LEGEND_LAYERS or layer in (0, n_layers - 1)
        l0 = [found.regions.l0(layer, slice(place, place + 1)) for place in places]
        line(firing, places, l0, color=colour, marker=".", label=f"layer {layer}" if named else None)
        line(share, places, [mean(shares[layer, :, place], unit="latent") for place in places], color=colour)
    line(share, places, [mean(each, unit="latent") for each in found.regions.shares], color=INK, label="all layers")
    for axes in (firing, share):
        axes.set_ylim(bottom=0)
    share.yaxis.set_major_formatter(percent_tick)
    share.set_xticks(np.arange(len(SHORT)), SHORT, rotation=30)
    share.set_xlabel("question, thinking from its start in tenths, answer")
    legend(firing)
    legend(share)
    return figure
