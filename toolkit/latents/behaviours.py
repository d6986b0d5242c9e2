"""How well latents find labelled behaviours, beside what chance finds in random directions and what a probe reads.

The labels are those of the organism's answers, or of annotated files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.activation_batches import batches_of
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.latents.labelled_activations import LabelledActivations, LabelledTokens
from toolkit.latents.labelled_units import TOGETHER, Kind, Readout, UnitsForLabel, spreads_over, units_for_labels
from toolkit.latents.random_dictionary import firings, random_codes
from toolkit.latents.span_labels import LabelledDocument, LabelledDocuments, LabelledSpan
from toolkit.organism.corpus import documents
from toolkit.organism.documents import BEHAVIOURS
from toolkit.probes.linear import linear_probe
from toolkit.statistics.auroc import Spread, auroc_over_seeds
from toolkit.statistics.estimates import GIVEN_ONE, Estimate, given_one
from toolkit.statistics.verdicts import Claim, Margin
from toolkit.tracking import track

FLOOR_DRAWS = 4
"""Random dictionaries; the floor is what the best of them reaches."""
LEAST_MARGIN = 0.02
"""By so much AUROC, at least, latents must beat the floor for a claim that they find a behaviour's spans."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AboveFloor:
    """What one latent, or several together, reach on the documents that test, and what random directions reach there.

    Intervals contain how documents and crosscoders of other seeds vary, or say that they know one crosscoder alone. How
    seeds vary is pooled over the behaviours, since three seeds say little of one alone.
    """

    auroc: Estimate
    """Mean over the crosscoders."""
    recall: float
    """Mean over the crosscoders of the share of the label's tokens that are found at 5 % false alarms."""
    by_seed: Mapping[int, Estimate]
    """AUROC of each crosscoder, with an interval over documents."""
    floor: Estimate
    """AUROC of the best of the random dictionaries."""
    margin: Estimate
    """AUROC less the floor, on the same documents."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundBehaviour:
    """How well a behaviour's tokens are found: latents are chosen on even documents and tested on odd ones."""

    behaviour: str
    latents: Mapping[int, tuple[int, ...]]
    """Those of each crosscoder, by seed: the best alone, then those that tell most together with it."""
    one: AboveFloor
    together: AboveFloor
    ceiling: Estimate
    """AUROC of a linear probe of all streams, fitted on the documents that choose."""
    firing_rate: float
    """Share of all tokens on which the first crosscoder's best latent fires."""
    n_tokens: int
    n_documents: int


def planted_behaviours(n_documents: int) -> LabelledDocuments:
    """Return the organism's held-out thinking answers, with labels of the behaviours that were written into them."""
    found = tuple(
        LabelledDocument(document.text, tuple(LabelledSpan(s.start, s.end, s.behaviour) for s in document.spans))
        for document in islice(documents("thinking", split="held_out", seed=23), n_documents)
    )
    return LabelledDocuments(documents=found, labels=BEHAVIOURS)


def find_behaviours(
    crosscoders: Mapping[int, Crosscoder], data: LabelledActivations, *, seed: int
) -> list[FoundBehaviour]:
    """Return how well the crosscoders, by seed, find each behaviour that has tokens in both halves of the documents.

    The floor is of directions of the last model's streams, each firing as often as a latent of one of the crosscoders.
    Raises `ValueError` where no behaviour has tokens in both halves.
    """
    tokens = data.tokens
    _ = tokens.measurable  # before anything takes time
    counted = track(crosscoders.items(), "finding labels", "crosscoders", total=len(crosscoders))
    coded = {number: sparse_codes(crosscoder, data.activations) for number, crosscoder in counted}
    n_streams = len(next(iter(crosscoders.values())).config.layers)
    x, rates = data.activations[:, -n_streams:].flatten(1), [firings(c, tokens.choosing) for c in coded.values()]
    return above_floor(
        coded,
        tokens,
        by_chance=lambda draw: random_codes(x, rates[draw % len(rates)], tokens.choosing, seed * FLOOR_DRAWS + draw),
        probed=lambda _: data.activations.flatten(1),
    )


def above_floor(
    coded: Mapping[int, Float[Tensor, "token unit"]],
    tokens: LabelledTokens,
    *,
    by_chance: Callable[[int], Float[Tensor, "token unit"]],
    probed: Callable[[int], Float[Tensor, "token width"]],
    given: str = GIVEN_ONE,
) -> list[FoundBehaviour]:
    """Return how well units find each label that has tokens in both halves of the documents.

    `coded` are the sparse codes of dictionaries by seed, `by_chance` gives those of the random dictionary of a draw.
    The ceiling is read from `probed` of the first dictionary's best unit; `given` is the note of intervals that know
    one dictionary alone. Raises `ValueError` where no label has tokens in both halves.
    """
    units = {number: units_for_labels(codes, tokens) for number, codes in coded.items()}
    draws = track(range(FLOOR_DRAWS), "finding labels by chance", "dictionaries", total=FLOOR_DRAWS)
    floor = list(zip(*(units_for_labels(by_chance(draw), tokens) for draw in draws), strict=True))
    own, codes = next(iter(units.values())), next(iter(coded.values()))
    spreads = spreads_over(list(zip(*units.values(), strict=True)))
    return [
        FoundBehaviour(
            behaviour=name,
            latents={number: each[place].units for number, each in units.items()},
            **{
                field: _above_floor(
                    kind, {n: each[place] for n, each in units.items()}, floor[place], tokens, spread, given
                )
                for field, (kind, spread) in zip(("one", "together"), spreads.items(), strict=True)
            },
            ceiling=_ceiling(name, probed(own[place].units[0]), tokens),
            firing_rate=float(
                (codes.index_select(1, torch.tensor(own[place].units[:1])).to_dense() > 0).float().mean()
            ),
            n_tokens=own[place].n_tokens,
            n_documents=own[place].n_documents,
        )
        for place, name in enumerate(tokens.measurable)
    ]


def sparse_codes(
    crosscoder: Crosscoder, activations: Float[Tensor, "token stream d_model"]
) -> Float[Tensor, "token latent"]:
    """Return the codes of activations in sparse form, on the CPU."""
    return torch.cat([crosscoder.encode(batch).cpu().to_sparse() for batch in batches_of(activations)])


def _above_floor(
    kind: Kind,
    units: Mapping[int, UnitsForLabel],
    by_chance: Sequence[UnitsForLabel],
    tokens: LabelledTokens,
    spread: Spread | None,
    given: str,
) -> AboveFloor:
    readouts: dict[int, Readout] = {number: getattr(each, kind) for number, each in units.items()}
    floor: Readout = max((getattr(each, kind) for each in by_chance), key=lambda each: each.auroc.value)
    labelled = tokens.wanted(by_chance[0].label)[~tokens.choosing]
    scores = torch.stack([each.scores for each in readouts.values()])
    auroc = auroc_over_seeds(scores, labelled, tokens.tested, spread=spread)
    margin = auroc_over_seeds(scores, labelled, tokens.tested, less=floor.scores[None], spread=spread)
    if len(readouts) == 1:
        auroc, margin = (given_one(each, given) for each in (auroc, margin))
    return AboveFloor(
        auroc=auroc,
        recall=sum(each.recall for each in readouts.values()) / len(readouts),
        by_seed={number: each.auroc for number, each in readouts.items()},
        floor=floor.auroc,
        margin=margin,
    )


def _ceiling(name: str, x: Float[Tensor, "token width"], tokens: LabelledTokens) -> Estimate:
    wanted = tokens.wanted(name)
    return Readout.of(x @ linear_probe(x[tokens.choosing], wanted[tokens.choosing]), wanted, tokens).auroc


def behaviour_claims(found: Sequence[FoundBehaviour]) -> list[Claim]:
    """Return what is claimed of each behaviour: that one latent finds its spans, then that several together do."""
    over = f"best of {FLOOR_DRAWS} random dictionaries"
    read = [(f"{each.behaviour} spans, one latent", each.one, each.n_tokens) for each in found]
    read += [(f"{each.behaviour} spans, {TOGETHER} latents", each.together, each.n_tokens) for each in found]
    return [
        Claim(
            name=name,
            effect=reached.auroc,
            margins=(Margin(over=over, difference=reached.margin, least=LEAST_MARGIN),),
            n=n,
        )
        for name, reached, n in read
    ]
