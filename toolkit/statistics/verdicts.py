"""Verdicts: what a page claims, written before anything is measured, and whether it shows after adjustment."""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.statistics.estimates import Estimate

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Margin:
    """How far an effect exceeds one of the things that it must exceed."""

    over: str
    """What is exceeded: "largest off-target effect", "best of 20 random directions"."""
    difference: Estimate
    """Effect minus that, paired wherever both were measured on the same samples; above 0 speaks for the claim."""
    least: float = 0.0
    """The difference must be above this; it is fixed before the measurement."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row of a page's verdicts. Every margin must hold: the claim is as uncertain as its most uncertain margin."""

    name: str
    effect: Estimate
    margins: tuple[Margin, ...]
    n: int

    @property
    def p(self) -> float:
        """The largest two-sided p value of the margins (an intersection-union test); 1 where one has no interval."""
        return max((each.difference.p_above(each.least) for each in self.margins), default=1.0)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim, and what the page's other claims leave of it."""

    claim: Claim
    p_adjusted: float
    """Holm's p value over all claims of the page."""

    @property
    def shows(self) -> bool:
        """Whether the adjusted p value is below .05."""
        return self.p_adjusted < ALPHA


def judge(claims: Sequence[Claim]) -> list[Verdict]:
    """Return a verdict for each claim, adjusted over all of them (Holm 1979)."""
    order = sorted(range(len(claims)), key=lambda index: claims[index].p)
    adjusted, largest = [1.0] * len(claims), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(claims) - place) * claims[index].p))
        adjusted[index] = largest
    return [Verdict(claim=claim, p_adjusted=p) for claim, p in zip(claims, adjusted, strict=True)]
