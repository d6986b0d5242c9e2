"""What a method finds: the unit of each seed that marks a behaviour best, set against random units and a probe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.dictionaries.selectivity import RankedCodes
from toolkit.experiments.compare_methods.methods import COMPONENTS
from toolkit.experiments.compare_methods.reading import PairText
from toolkit.latents.labelled_activations import LabelledTokens
from toolkit.latents.labelled_units import KINDS, Kind, Readout, Spreads, UnitsForLabel, units_for_labels
from toolkit.latents.random_dictionary import random_codes
from toolkit.probes.linear import linear_probe
from toolkit.statistics.auroc import auroc_over_seeds
from toolkit.statistics.estimates import Estimate, given_one
from toolkit.tracking import track

Firings = Int[Tensor, " unit"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """How well a method's best units mark one behaviour, over its seeds."""

    auroc: Estimate
    """Of the best unit of each seed, averaged; the interval contains documents and seeds."""
    together: Estimate
    """Of the best five units of each seed, weighted by least squares."""
    recall: float
    """Share of the behaviour's tokens that the best unit finds at 5 % false alarms, averaged over seeds."""
    spread: float | None
    """Standard deviation of the best unit's AUROC over seeds; None where there is one."""
    margins: dict[str, Estimate]
    """By kind of floor, `SPARSE` or `DENSE`: AUROC less the floor's, on the same documents."""
    units: tuple[int, ...]
    """The best unit of each seed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Floor:
    """What the best random unit reaches for one behaviour."""

    read: str
    """Where these random units read: the place that does best on the choosing half."""
    scores: Float[Tensor, "draw tested"]
    """What the best unit of each draw scores."""
    auroc: Estimate


Floors = dict[str, dict[str, Floor]]
"""By kind, `SPARSE` or `DENSE`, by behaviour."""


def found_by(
    by_seed: Sequence[UnitsForLabel],
    floors: Floors,
    tokens: LabelledTokens,
    spreads: Spreads,
    *,
    has_seeds: bool,
) -> Found:
    """Set the best units of each seed against the floors; they are of one behaviour, and `spreads` of all."""
    behaviour = by_seed[0].label
    wanted, documents = tokens.wanted(behaviour)[~tokens.choosing], tokens.tested
    best, together = (torch.stack([getattr(each, kind).scores for each in by_seed]) for kind in KINDS)
    alone = has_seeds and len(by_seed) == 1

    def estimated(scores: Tensor, kind: Kind, less: Tensor | None = None) -> Estimate:
        estimate = auroc_over_seeds(scores, wanted, documents, less=less, spread=spreads[kind])
        return given_one(estimate) if alone else estimate

    values = torch.tensor([each.best.auroc.value for each in by_seed])
    return Found(
        auroc=estimated(best, "best"),
        together=estimated(together, "together"),
        recall=sum(each.best.recall for each in by_seed) / len(by_seed),
        spread=float(values.std()) if len(by_seed) > 1 else None,
        margins={kind: estimated(best, "best", floors[kind][behaviour].scores) for kind in floors},
        units=tuple(each.units[0] for each in by_seed),
    )


def on_choosing_half(
    scores: Float[Tensor, "token unit"], tokens: LabelledTokens, chosen: Sequence[UnitsForLabel]
) -> list[float]:
    """Return the AUROC that each behaviour's best unit reaches on the documents that chose it."""
    units = torch.tensor([each.units[0] for each in chosen])
    columns = scores.index_select(1, units).to_dense()[tokens.choosing]
    ranked = RankedCodes.of(columns - columns.amin(dim=0))
    return [float(ranked.auroc(tokens.wanted(each.label)[tokens.choosing])[place]) for place, each in enumerate(chosen)]


SPARSE, DENSE = "random dictionary", "random directions"
RANDOM: Mapping[str, Mapping[str, Callable[[PairText, Firings, int], Tensor]]] = {
    SPARSE: {
        "both streams": lambda text, firings, seed: _sparse(text.both(), text, firings, seed),
        "the last model's stream": lambda text, firings, seed: _sparse(text.distilled(), text, firings, seed),
        "the difference": lambda text, firings, seed: _sparse(text.difference(), text, firings, seed),
    },
    DENSE: {
        "the last model's stream": lambda text, firings, seed: _dense(text.distilled(), seed),
        "the difference": lambda text, firings, seed: _dense(text.difference(), seed),
    },
}
"""Kinds of random units by what they read. A random dictionary has as many units as a trained one, each firing as often
as one of its latents; random directions, as many as PCA has components, are read at both ends, without a threshold."""


def random_floors(text: PairText, firings: Firings, draws: int, seed: int) -> Floors:
    """Return for each kind and behaviour the random units that mark it best on the choosing half, and how well they do.

    `firings` says on how many choosing tokens each latent of a dictionary fires. Of each kind the highest floor counts.
    """
    tokens = text.labelled.tokens
    floors: Floors = {}
    for kind, places in track(list(RANDOM.items()), "random units", "kinds"):
        read = {
            place: _draws(text, partial(make, text, firings), range(seed * draws, (seed + 1) * draws))
            for place, make in places.items()
        }
        floors[kind] = {}
        for number, behaviour in enumerate(tokens.measurable):
            best = max(read, key=lambda place: float(read[place][0][number]))
            scores, wanted = read[best][1][number], tokens.wanted(behaviour)[~tokens.choosing]
            floors[kind][behaviour] = Floor(
                read=best, scores=scores, auroc=auroc_over_seeds(scores, wanted, tokens.tested)
            )
    return floors


def _draws(
    text: PairText, make: Callable[[int], Tensor], seeds: range
) -> tuple[Float[Tensor, " behaviour"], Float[Tensor, "behaviour draw tested"]]:
    """What the best unit of each draw reaches on the choosing half, on average, and what it scores on the other."""
    tokens = text.labelled.tokens
    reached, scores = [], []
    for seed in seeds:
        units = make(seed)
        chosen = units_for_labels(units, tokens, 1)
        reached.append(on_choosing_half(units, tokens, chosen))
        scores.append(torch.stack([each.best.scores for each in chosen]))
    return torch.tensor(reached).mean(dim=0), torch.stack(scores, dim=1)


def probe_ceiling(text: PairText) -> dict[str, Readout]:
    """Return how well a logistic probe of both streams, fitted to each behaviour on the choosing half, marks it."""
    tokens, x = text.labelled.tokens, text.both()
    readouts = {}
    for behaviour in track(list(tokens.measurable), "fitting probes", "labels"):
        wanted = tokens.wanted(behaviour)
        direction = linear_probe(x[tokens.choosing], wanted[tokens.choosing])
        readouts[behaviour] = Readout.of(x @ direction, wanted, tokens)
    return readouts


def _sparse(x: Tensor, text: PairText, firings: Firings, seed: int) -> Tensor:
    return random_codes(x, firings, text.labelled.tokens.choosing, seed)


def _dense(x: Tensor, seed: int) -> Tensor:
    directions = torch.randn(x.shape[1], COMPONENTS, generator=torch.Generator().manual_seed(seed))
    projected = x @ directions
    return torch.cat([projected, -projected], dim=1)
