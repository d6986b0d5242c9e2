"""What stitching costs, as estimates whose intervals hold how documents vary, and the text that maps were fitted on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from toolkit.statistics.estimates import (
    FEWEST_SAMPLES,
    Estimate,
    given_one,
    jackknife_over_seeds,
    ratio_of_sums,
    ratio_over_seeds,
    too_few,
)
from toolkit.stitching.position_kinds import KINDS

Measure = Literal["ce", "kl"]
"""Cross-entropy in excess of the receiver's own, or KL(receiver ‖ stitched); in nats a token.

KL tells how well a map carries a stream, in every direction. Excess cross-entropy tells it only of a receiver that
predicts the text well: one that cannot may predict it better from a stream that is brought over badly.
"""
BASE_TO_DISTILLED, DISTILLED_TO_BASE, SELF = "base_to_distilled", "distilled_to_base", "self"
SELF_BASE, BASE_TO_CONTROL = "self_base", "base_to_control"
IDENTITY, MEAN_SHIFT, RIDGE = "identity", "mean_shift", "ridge"
GIVEN_ONE_FIT = "given this fit"
RANK_MARGIN = 0.05
"""Nats a token by which a truncated ridge may cost more than the whole one and still count as good as that."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cost:
    """What one map costs the receiver: sums over each document's predictions of each kind, for each fit of the map."""

    ce: Float[Tensor, "fit document kind"]
    """Cross-entropy in excess of the receiver's own, in nats."""
    kl: Float[Tensor, "fit document kind"]
    """KL(receiver ‖ stitched), in nats."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StitchedCut:
    """What each map costs at one cut of one direction. The last axis of every tensor is that of `KINDS`."""

    front: str
    """Name of the model whose first layers run."""
    rest: str
    """Name of the receiver, whose later layers run."""
    front_layer: int
    cut: int
    """The receiver's layer at whose input its stream is replaced."""
    tokens: Float[Tensor, "document kind"]
    """Predictions."""
    vocabulary: int
    """Tokens that the receiver chooses among."""
    loss: Float[Tensor, "document kind"]
    """Cross-entropy of the receiver as it is, summed over them, in nats."""
    maps: Mapping[str, Cost]
    """By the map's name, as settings have it."""
    ranks: Mapping[int, Cost] = field(default_factory=dict)
    """The ridge truncated to each rank; empty where that was not measured."""
    from_identity: Mapping[str, float] = field(default_factory=dict)
    """How far each map is from the identity, on average over its fits; empty where the widths differ."""
    explained: Mapping[str, float] = field(default_factory=dict)
    """The share of the variance of the receiver's stream that each map explains, on average over its fits, in the
    documents that choose a ridge's penalty."""

    def n(self, *kinds: str) -> int:
        """How many predictions of these kinds there are; of all kinds by default."""
        return int(_of_kinds(self.tokens, kinds).sum())

    @property
    def loss_a_token(self) -> Estimate:
        """Cross-entropy of the receiver as it is, in nats a token."""
        return ratio_of_sums(_of_kinds(self.loss, ()), _of_kinds(self.tokens, ()))

    @property
    def predicts(self) -> bool:
        """Whether the receiver as it is predicts the text better than a uniform guess does."""
        return self.loss_a_token.value < log(self.vocabulary)

    def cost(self, name: str, *kinds: str, measure: Measure = "kl") -> Estimate:
        """What the map costs a prediction of these kinds; of all kinds by default."""
        return self._per_token(getattr(self.maps[name], measure), kinds)

    def more(self, first: str, second: str, *, share: float = 1.0) -> Estimate:
        """How much more KL the first map costs than `share` of what the second does, paired by document."""
        one, other = _same_fits(self.maps[first].kl, self.maps[second].kl)
        return self._per_token(one - share * other, ())

    def beyond(self, other: "StitchedCut", name: str) -> Estimate:
        """How much more KL a map costs here than in another direction on the same predictions, paired."""
        assert self.tokens.equal(other.tokens), "both were measured on the same predictions"
        one, less = _same_fits(self.maps[name].kl, other.maps[name].kl)
        return self._per_token(one - less, ())

    def beyond_ridge(self, rank: int) -> Estimate:
        """How much more KL the ridge costs when it is truncated to the rank, paired by document."""
        truncated, whole = _same_fits(self.ranks[rank].kl, self.maps[RIDGE].kl)
        return self._per_token(truncated - whole, ())

    @property
    def rank_needed(self) -> int | None:
        """The least rank that costs less than `RANK_MARGIN` more than the whole ridge, by the interval's upper end.

        None where no rank that was tried does, or nothing has an interval.
        """
        ends = {rank: self.beyond_ridge(rank).high for rank in sorted(self.ranks)}
        return next((rank for rank, high in ends.items() if high is not None and high < RANK_MARGIN), None)

    def kinds_apart(self, name: str, kind: str, other: str) -> "KindsApart":
        """How much more KL the map costs predictions of one kind than those of another."""
        return KindsApart.of(self.maps[name].kl, self.tokens, KINDS.index(kind), KINDS.index(other))

    def _per_token(self, sums: Tensor, kinds: Sequence[str]) -> Estimate:
        found = ratio_over_seeds(_of_kinds(sums, kinds), _of_kinds(self.tokens, kinds))
        return given_one(found, GIVEN_ONE_FIT) if len(sums) == 1 else found


@dataclass(frozen=True, kw_only=True, eq=False)
class KindsApart:
    """What one kind of predictions costs less what another does, in nats a token."""

    values: Float[Tensor, " fit"]
    without: Float[Tensor, "fit document"]
    """What they are without each document."""
    documents: int
    """Documents with predictions of the rarer kind."""

    @classmethod
    def of(
        cls, sums: Float[Tensor, "fit document kind"], tokens: Float[Tensor, "document kind"], kind: int, other: int
    ) -> "KindsApart":
        """From sums over each document's predictions, and how many these are."""
        whole = sums.sum(dim=1) / tokens.sum(dim=0)
        left_out = (sums.sum(dim=1, keepdim=True) - sums) / (tokens.sum(dim=0) - tokens)
        return cls(
            values=whole[:, kind] - whole[:, other],
            without=left_out[..., kind] - left_out[..., other],
            documents=int((tokens[:, [kind, other]] > 0).sum(dim=0).min()),
        )

    def __sub__(self, less: "KindsApart") -> "KindsApart":
        """Return the difference on the same documents, fit by fit."""
        values, less_values = _same_fits(self.values, less.values)
        without, less_without = _same_fits(self.without, less.without)
        return KindsApart(
            values=values - less_values,
            without=without - less_without,
            documents=min(self.documents, less.documents),
        )

    @property
    def estimate(self) -> Estimate:
        """The mean over fits; NaN where there is no prediction of one of the kinds."""
        if why := too_few(self.documents, FEWEST_SAMPLES):
            return Estimate(float(self.values.mean()), note=why)
        found = jackknife_over_seeds(self.values, self.without)
        return given_one(found, GIVEN_ONE_FIT) if len(self.values) == 1 else found


@dataclass(frozen=True, kw_only=True, eq=False)
class StitchingStudy:
    """What stitching costs in every direction, on the same documents."""

    directions: Mapping[str, Mapping[int, StitchedCut]]
    """By direction, then by cut. `self` is the last model's front before its own rest, `self_base` the first's;
    `base_to_control` is there where there is a control."""
    middle: Mapping[str, int]
    """The cut of each direction that claims are about, and that maps are trained at."""
    left_out: Mapping[str, str]
    """Why a map was not tried, by its name."""
    fitted_tokens: tuple[int, ...]
    """Tokens that each fit of the maps is from."""
    text: str
    """Which text was read, and what became of its documents."""
    origin: Mapping[str, Any]
    """What is known of the text."""

    @property
    def documents(self) -> int:
        """Held-out documents on which costs are measured."""
        return len(next(iter(next(iter(self.directions.values())).values())).tokens)

    def at_middle(self, direction: str) -> StitchedCut:
        """The middle cut of a direction."""
        return self.directions[direction][self.middle[direction]]


def _of_kinds(values: Float[Tensor, "*fit document kind"], kinds: Sequence[str]) -> Float[Tensor, "*fit document"]:
    return values[..., [KINDS.index(kind) for kind in kinds or KINDS]].sum(dim=-1)


def _same_fits(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps' first fits, as many as both have: fits of one number are from the same text."""
    fits = min(len(first), len(second))
    return first[:fits], second[:fits]
