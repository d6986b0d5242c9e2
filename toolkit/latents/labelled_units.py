"""Which units find a label's tokens: one alone and several together, chosen on one half of the documents, tested on
the other.

A unit is whatever gives a token a score: a latent, a component, a random direction. Methods are compared by the same
choice and the same test.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.dictionaries.selectivity import RankedCodes
from toolkit.latents.labelled_activations import LabelledTokens
from toolkit.statistics.auroc import Spread, auroc_estimate
from toolkit.statistics.estimates import Estimate

TOGETHER = 5
"""Units that are read together."""
Kind = Literal["best", "together"]
KINDS: tuple[Kind, ...] = ("best", "together")
"""What is read of a label's units: the best one alone, or several together."""
Spreads = dict[Kind, Spread | None]
FALSE_ALARMS = 0.05
"""Share of the other tokens, at most, that a readout may take for the label's where its recall is measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Readout:
    """How well one score a token tells a label's tokens from the rest, on the documents that test."""

    auroc: Estimate
    """With its interval over documents: another choice of units, or another dictionary, is not in it."""
    recall: float
    """Share of the label's tokens above the threshold that 5 % of the other tokens of the choosing half exceed."""
    scores: Float[Tensor, " tested"] = field(repr=False)

    @classmethod
    def of(cls, scores: Float[Tensor, " token"], wanted: Bool[Tensor, " token"], tokens: LabelledTokens) -> "Readout":
        """Test the scores of all tokens; a higher score must speak for the label."""
        choosing, scores, wanted = tokens.choosing, scores.cpu(), wanted.cpu()
        others, tested = scores[choosing & ~wanted], scores[~choosing]
        threshold = others.kthvalue(len(others) - int(FALSE_ALARMS * len(others))).values
        return cls(
            auroc=auroc_estimate(tested, wanted[~choosing], tokens.tested),
            recall=float((tested[wanted[~choosing]] > threshold).float().mean()),
            scores=tested,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitsForLabel:
    """The units that find a label: the best one, and as many more as tell most together with it."""

    label: str
    units: tuple[int, ...]
    """The best one first; each other one explains most of what those before it leave of the label."""
    best: Readout
    together: Readout
    n_tokens: int
    """Labelled tokens that test."""
    n_documents: int
    """Documents that hold them."""


def units_for_labels(
    scores: Float[Tensor, "token unit"], tokens: LabelledTokens, n_together: int = TOGETHER
) -> list[UnitsForLabel]:
    """Choose and test the units of each measurable label.

    `scores` may be sparse, and silent units tie at 0. A unit's sign is part of it: alone, it must score higher on the
    label's tokens; several together are weighted by least squares on the choosing half. Raises `ValueError` where no
    label has tokens in both halves.
    """
    scores = scores.cpu()
    sparse = scores if scores.is_sparse else (scores - scores.amin(dim=0)).to_sparse()
    chooser = UnitChooser.of(sparse, tokens)
    return [_units(name, sparse, chooser, tokens, n_together) for name in tokens.measurable]


def _units(
    label: str, scores: Tensor, chooser: "UnitChooser", tokens: LabelledTokens, n_together: int
) -> UnitsForLabel:
    wanted, choosing = tokens.wanted(label), tokens.choosing
    *_, (units, weights) = islice(chooser.grow(wanted[choosing]), n_together)
    columns = scores.index_select(1, torch.tensor(units)).to_dense()
    tested = tokens.tested[wanted[~choosing]]
    return UnitsForLabel(
        label=label,
        units=tuple(units),
        best=Readout.of(columns[:, 0], wanted, tokens),
        together=Readout.of(columns @ weights, wanted, tokens),
        n_tokens=len(tested),
        n_documents=len(tested.unique()),
    )


def spreads_over(by_label: Sequence[Sequence[UnitsForLabel]]) -> Spreads:
    """Return how the AUROCs of several seeds' units differ, of one unit and of several, pooled over the labels."""
    return {
        kind: Spread.pooled([torch.tensor([getattr(each, kind).auroc.value for each in seeds]) for seeds in by_label])
        for kind in KINDS
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitChooser:
    """The scores of the documents that choose, ready for many labels."""

    scores: Float[Tensor, "token unit"]
    ranked: RankedCodes
    spread: Float[Tensor, " unit"]

    @classmethod
    def of(cls, scores: Float[Tensor, "token unit"], tokens: LabelledTokens) -> "UnitChooser":
        """Take the scores of all tokens, sparse and not below 0."""
        scores = scores.cpu().index_select(0, tokens.choosing.nonzero().squeeze(1))
        mean, square = (torch.sparse.sum(each, dim=0).to_dense() / len(scores) for each in (scores, scores * scores))
        return cls(scores=scores, ranked=RankedCodes.of(scores), spread=(square - mean.square()).clamp_min(0).sqrt())

    def grow(self, wanted: Bool[Tensor, " token"]) -> Iterator[tuple[list[int], Float[Tensor, " unit"]]]:
        """Yield the best unit, then one more each time, with the least-squares weights of all; units vary somewhere.

        Each other unit is the one that is most correlated with what those before it leave of the label.
        """
        wanted, alive = wanted.cpu(), self.spread > 0
        units = [int(self.ranked.auroc(wanted).where(alive, -1.0).argmax())]
        columns = torch.zeros(len(wanted), 0, dtype=torch.float64)
        target = wanted.double() - wanted.double().mean()
        while True:
            newest = self.scores.index_select(1, torch.tensor(units[-1:])).to_dense().double()
            columns = torch.cat([columns, newest - newest.mean(dim=0)], dim=1)
            weights = torch.linalg.pinv(columns.t() @ columns, hermitian=True) @ (columns.t() @ target)
            yield list(units), weights.float()
            if len(units) == alive.sum():
                return
            left = (target - columns @ weights).float()
            explains = ((self.scores.t() @ left[:, None])[:, 0] / self.spread).abs().where(alive, -1.0)
            explains[units] = -1.0
            units.append(int(explains.argmax()))
