"""Where the information on a label is: in the streams, in what a crosscoder rebuilds of them, in how many latents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.dictionaries.activation_batches import batches_of
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.latents.labelled_activations import LabelledActivations
from toolkit.latents.labelled_units import Readout, UnitChooser
from toolkit.probes.linear import linear_probe
from toolkit.statistics.estimates import Estimate
from toolkit.tracking import track

NUMBERS = (1, 5, 10, 50)
"""Latents that are read together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelInformation:
    """How well a label is read from the streams, and from parts of what a crosscoder makes of them.

    All are AUROCs on the documents that test, with intervals over documents, given this crosscoder.
    """

    label: str
    of_variance: float
    """Share of the streams' variance that lies between the label's tokens and the others."""
    streams: Estimate
    """Of a linear probe."""
    reconstruction: Estimate
    """Of the same probe, on the reconstruction."""
    error: Estimate
    """Of the same probe, on what the reconstruction lacks."""
    by_latents: Mapping[int, Estimate]
    """By the number of latents, of the weights that read most from them together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SpanInformation:
    """Where the information on labels is, and what else the streams hold."""

    labels: Sequence[LabelInformation]
    variance_of_tokens: float
    """Share of the streams' variance that lies between tokens of different ids."""


def span_information(crosscoder: Crosscoder, data: LabelledActivations) -> SpanInformation:
    """Return where the information on each measurable label is; raises `ValueError` where none is measurable."""
    tokens, x = data.tokens, data.activations.flatten(1)
    coded = [crosscoder.encode(batch) for batch in batches_of(data.activations)]
    rebuilt = torch.cat([crosscoder.decode(codes).flatten(1).cpu() for codes in coded])
    codes = torch.cat([each.cpu().to_sparse() for each in coded])
    chooser = UnitChooser.of(codes, tokens)
    found = []
    for name in track(tokens.measurable, "reading labels", "labels"):
        wanted = tokens.wanted(name)
        probe = linear_probe(x[tokens.choosing], wanted[tokens.choosing])
        streams, reconstruction, error = (
            Readout.of(of @ probe, wanted, tokens).auroc for of in (x, rebuilt, x - rebuilt)
        )
        grown = islice(chooser.grow(wanted[tokens.choosing]), max(NUMBERS))
        by_latents = {
            len(units): Readout.of(
                codes.index_select(1, torch.tensor(units)).to_dense() @ weights, wanted, tokens
            ).auroc
            for units, weights in grown
            if len(units) in NUMBERS
        }
        found.append(
            LabelInformation(
                label=name,
                of_variance=variance_between(x, wanted.long()),
                streams=streams,
                reconstruction=reconstruction,
                error=error,
                by_latents=by_latents,
            )
        )
    return SpanInformation(labels=found, variance_of_tokens=variance_between(x, data.token_id))


def variance_between(x: Float[Tensor, "token width"], group: Int[Tensor, " token"]) -> float:
    """Return the share of the activations' variance that lies between the means of groups of tokens."""
    place = group.to(x.device).unique(return_inverse=True)[1]
    sizes = place.bincount()
    sums = x.new_zeros(len(sizes), x.shape[1]).index_add_(0, place, x)
    within = (x - (sums / sizes[:, None])[place]).square().sum()
    return float(1 - within / (x - x.mean(dim=0)).square().sum())
