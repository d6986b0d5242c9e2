"""How well the weights of edges predict what happens when their sources are taken out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import atanh, tanh

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.attribution.edge_tests import Way
from toolkit.statistics.estimates import Estimate, jackknife

SOURCE = "source latent"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Predicted against measured changes; intervals take source latents, not edges, as samples."""

    slope: Estimate
    """Of the line through 0 that fits the measured changes best, given the predicted ones: 1 where they are equal."""
    r: Estimate
    """Pearson's correlation."""
    n: int
    """Edges."""
    sources: int
    """Latents that they come from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EdgeTests:
    """What was predicted and measured of the strongest edges from latents."""

    edges: Int[Tensor, "edge 2"]
    """Numbers of nodes in the graph."""
    predicted: Float[Tensor, " edge"]
    """Their weights."""
    measured: Mapping[Way, Float[Tensor, " edge"]]
    """How far each target falls without its source; see `edge_tests.WAYS`."""
    agreement: Mapping[Way, Agreement]
    to_logits: Agreement
    """In the free model, of edges into logits alone."""
    to_latents: Agreement
    """Likewise of edges into latents."""
    shuffled: Agreement
    """The control: the free model's changes, with the predictions of other edges."""
    beyond_shuffled: Estimate
    """r of the free model less that of the control."""
    without_edge: float | None
    """Mean size of the change in the free model for random pairs without an edge, as a share of that for tested edges;
    None where every pair has one."""


def agreement(
    predicted: Float[Tensor, " edge"],
    measured: Float[Tensor, " edge"],
    sources: Int[Tensor, " edge"],
    *,
    unit: str = SOURCE,
) -> Agreement:
    """Compare predicted with measured changes; `unit` is what one of the `sources` is called."""
    return Agreement(
        slope=without_each(slope, sources, predicted, measured, unit=unit),
        r=correlated(predicted, measured, sources, unit=unit),
        n=len(predicted),
        sources=len(sources.unique()),
    )


def without_each(
    statistic: Callable[..., float], sources: Int[Tensor, " edge"], *columns: Tensor, unit: str = SOURCE
) -> Estimate:
    """A statistic of numbers by edge, with its jackknife interval, each source left out in turn."""
    left = [statistic(*(column[sources != each] for column in columns)) for each in sources.unique()]
    return jackknife(statistic(*columns), torch.tensor(left, dtype=torch.float64), unit=unit)


def slope(predicted: Float[Tensor, " edge"], measured: Float[Tensor, " edge"]) -> float:
    """Σ predicted · measured / Σ predicted²; NaN without edges."""
    return float(predicted @ measured / (predicted @ predicted))


def correlation(predicted: Float[Tensor, " edge"], measured: Float[Tensor, " edge"]) -> float:
    """Pearson's r; NaN where either does not vary."""
    x, y = predicted - predicted.mean(), measured - measured.mean()
    return float(x @ y / (x.norm() * y.norm()))


def angle(predicted: Float[Tensor, " edge"], measured: Float[Tensor, " edge"]) -> float:
    """Fisher's z of the correlation, artanh r; that of 1 is taken for the largest below it."""
    most = 1 - torch.finfo(torch.float64).eps
    return atanh(max(-most, min(most, correlation(predicted, measured))))


def correlated(
    predicted: Float[Tensor, " edge"],
    measured: Float[Tensor, " edge"],
    sources: Int[Tensor, " edge"],
    *,
    unit: str = SOURCE,
) -> Estimate:
    """Pearson's r; the ends of its interval are those of Fisher's z, so that they lie between -1 and 1."""
    found, z = (without_each(each, sources, predicted, measured, unit=unit) for each in (correlation, angle))
    low, high = (None if end is None else tanh(end) for end in (z.low, z.high))
    return replace(found, low=low, high=high)


def margin(
    predicted: Float[Tensor, " edge"], shuffled: Float[Tensor, " edge"], measured: Float[Tensor, " edge"]
) -> float:
    """How much better the predictions correlate than shuffled ones."""
    return correlation(predicted, measured) - correlation(shuffled, measured)
