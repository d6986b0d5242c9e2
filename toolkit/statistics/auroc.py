"""AUROC of one score for labelled tokens, and the difference of two scores', with intervals over documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Bool, Float, Int
from scipy.special import expit, logit, stdtrit
from torch import Tensor

from toolkit.statistics.estimates import (
    LEVEL,
    Estimate,
    clustered_freedom,
    jackknife_error,
    satterthwaite,
    too_few,
    with_error,
)
from toolkit.statistics.shares import wilson


@dataclass(frozen=True, kw_only=True, eq=False)
class _Jackknife:
    """AUROC of all tokens, and of those left when one document is taken out."""

    value: float
    without: Float[Tensor, " document"]
    """NaN where nothing is left to compare."""
    sizes: tuple[Float[Tensor, " document"], Float[Tensor, " document"]]
    """Labelled and other tokens of each document."""

    @property
    def note(self) -> str:
        """Why documents or labelled tokens are too few for an interval; empty where they are enough."""
        kinds = zip(self.sizes, ("labelled tokens", "other tokens"), strict=True)
        each = (too_few(int((of > 0).sum()), int(of.sum()), f"documents with {kind}", kind) for of, kind in kinds)
        return next(filter(None, each), "")

    @property
    def n_documents(self) -> int:
        """Documents that hold the kind of token that fewer of them hold."""
        return min(int((of > 0).sum()) for of in self.sizes)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the kind of token that fewer documents hold."""
        return min(clustered_freedom(of[of > 0]) for of in self.sizes)


@dataclass(frozen=True)
class Spread:
    """How values of several seeds differ from each other."""

    variance: float
    freedom: int

    @classmethod
    def pooled(cls, values: Sequence[Float[Tensor, " seed"]]) -> "Spread | None":
        """Return the mean of the variances between seeds, one for each thing that was measured with all seeds.

        It takes the seeds to vary as much for each, and their errors to be independent. None for one seed, and where
        nothing was measured.
        """
        n = min(map(len, values), default=0)
        if n < 2:
            return None
        return cls(sum(float(each.var()) for each in values) / len(values), len(values) * (n - 1))


def auroc_estimate(
    scores: Float[Tensor, " token"], labels: Bool[Tensor, " token"], documents: Int[Tensor, " token"]
) -> Estimate:
    """Return the AUROC of one score with its 95 % interval over documents, as tokens of one document are alike.

    Each document is left out in turn (Quenouille 1956); the interval is that of t on the scale of log odds, so it stays
    within 0 and 1, and `error` is that towards its low end. A score without a mistake gets Wilson's lower end for as
    many documents. Fewer than 8 documents or 20 tokens of either kind have no interval. Raises `ValueError` unless
    there are both labelled and other tokens.
    """
    found = _leave_out(scores, labels, documents)
    if found.note:
        return Estimate(found.value, note=found.note)
    return _on_odds(found.value, jackknife_error(found.without), found.freedom, found.n_documents)


def _on_odds(value: float, error: float, freedom: float, n_documents: int) -> Estimate:
    """The t interval on the scale of log odds, Wilson's of 0 and 1; `error` of the estimate is that to its low end."""
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2))
    low: float | None
    if value in (0, 1):
        ends = wilson(round(value * n_documents), n_documents)
        low, high = ends.low, ends.high
    else:
        of_odds = reach * error / (value * (1 - value))
        low, high = (float(expit(logit(value) + side * of_odds)) for side in (-1, 1))
    assert low is not None
    return Estimate(value, low, high, (value - low) / reach, freedom)


def auroc_difference(
    scores_a: Float[Tensor, " token"],
    scores_b: Float[Tensor, " token"],
    labels: Bool[Tensor, " token"],
    documents: Int[Tensor, " token"],
) -> Estimate:
    """Return AUROC of a less that of b on the same tokens, with its 95 % t interval over documents left out in turn.

    Both lose the same document each time, so what they share cancels. No interval, and errors, as in `auroc_estimate`.
    """
    a, b = (_leave_out(scores, labels, documents) for scores in (scores_a, scores_b))
    if a.note:
        return Estimate(a.value - b.value, note=a.note)
    return with_error(a.value - b.value, jackknife_error(a.without - b.without), a.freedom)


def auroc_over_seeds(
    scores: Float[Tensor, "seed token"],
    labels: Bool[Tensor, " token"],
    documents: Int[Tensor, " token"],
    *,
    less: Float[Tensor, "draw token"] | None = None,
    spread: Spread | None = None,
) -> Estimate:
    """Return the mean AUROC of several dictionaries, less that of others if given, with its 95 % t interval.

    A row is what the chosen unit of one dictionary scores. The squared error adds that over documents, which lose the
    same one each time in all rows, to how the rows of each kind differ, s² / rows; the degrees of freedom are
    Satterthwaite's. One row alone adds nothing. Three seeds alone say little of how seeds differ: `spread` is what
    several labels say of it together, in place of what these scores do. Without `less` the interval is one on log odds.
    No interval, and errors, as in `auroc_estimate`.
    """
    kinds = [[_leave_out(row, labels, documents) for row in rows] for rows in (scores, less) if rows is not None]
    means = [torch.stack([each.without for each in kind]).mean(dim=0) for kind in kinds]
    values = [torch.tensor([each.value for each in kind], dtype=torch.float64) for kind in kinds]
    value = float(values[0].mean() - (values[1].mean() if less is not None else 0))
    if note := kinds[0][0].note:
        return Estimate(value, note=note)
    over_documents = jackknife_error(means[0] - means[1] if less is not None else means[0]) ** 2
    spreads = [Spread.pooled([each]) for each in values]
    spreads[0] = spread or spreads[0]
    of_rows = [(each.variance / len(rows), each.freedom) for each, rows in zip(spreads, values, strict=True) if each]
    parts = [(over_documents, kinds[0][0].freedom), *of_rows]
    error, freedom = sqrt(sum(variance for variance, _ in parts)), satterthwaite(parts)
    if less is None:
        return _on_odds(value, error, freedom, kinds[0][0].n_documents)
    return with_error(value, error, freedom)


def _leave_out(scores: Tensor, labels: Tensor, documents: Tensor) -> _Jackknife:
    if labels.all() or not labels.any():
        raise ValueError(f"{int(labels.sum())} of {len(labels)} tokens are labelled: AUROC needs some and others")
    scores, labels = scores.cpu(), labels.cpu()
    level = scores.unique(return_inverse=True)[1]
    names, document = documents.cpu().unique(return_inverse=True)

    def by_document(values: Tensor, chosen: Tensor) -> Tensor:
        sums = torch.zeros(len(names), dtype=torch.float64)
        return sums.index_add_(0, document[chosen], values[chosen].double())

    wins = _wins(level, labels)
    ones = torch.ones_like(wins)
    sizes = labelled, others = by_document(ones, labels), by_document(ones, ~labels)
    # Documents in order, scores in order within each: a labelled token then also beats all tokens of earlier documents.
    within = _wins(document * (int(level.max()) + 1) + level, labels) - (others.cumsum(0) - others)[document]
    lost = by_document(wins, labels) + by_document(wins, ~labels) - by_document(within, labels)
    total = by_document(wins, labels).sum()
    left = (labelled.sum() - labelled) * (others.sum() - others)
    return _Jackknife(
        value=float(total / (labelled.sum() * others.sum())),
        without=torch.where(left > 0, (total - lost) / left, torch.nan),
        sizes=sizes,
    )


def _wins(level: Int[Tensor, " token"], labels: Bool[Tensor, " token"]) -> Float[Tensor, " token"]:
    """How many others each labelled token beats, and how many labelled ones beat each other token; ties count half."""
    place = level.unique(return_inverse=True)[1]
    positive, negative = (torch.bincount(place[chosen], minlength=int(place.max()) + 1) for chosen in (labels, ~labels))
    beaten = negative.cumsum(0) - negative / 2
    beating = positive.sum() - positive.cumsum(0) + positive / 2
    return torch.where(labels, beaten[place], beating[place]).double()
