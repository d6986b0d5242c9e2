"""The latents that fire most on each category's words, as a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple

from toolkit.latents.firing import FiringCounts
from toolkit.leaving_out import TooFewError, measurable
from toolkit.reports.findings import Cell, Table, left_out_tables
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.shares import wilson

LEAST_FIRINGS = 5
LISTED = 3


def category_tables(
    firing: FiringCounts,
    latents: Sequence[int],
    *,
    given: str,
    named: Callable[[int], str] = str,
    more: Mapping[str, Callable[[int], Cell]],
) -> list[Table]:
    """Return for each category the best of `latents`, and which categories have none.

    `given` says which dictionary all of it depends on, `named` what a latent is called, `more` has further columns.
    """
    seen, left_out = firing.seen()

    def rows_of(name: str) -> list[list[Cell]]:
        best = _best(firing, latents, name, seen[name])
        n = int(firing.n["token"][seen[name]])
        return [
            [f"{name}, n {n:,}", named(latent), *cells, *(of(latent) for of in more.values())]
            for latent, cells in best.items()
        ]

    rows, without_latents = measurable(seen, rows_of)
    table = Table(
        title="Latents that fire most on each category's tokens",
        columns=("category, tokens", "latent", "lift", "P(fire | it)", "P(fire)", *more),
        rows=[row for of_category in rows.values() for row in of_category],
        note="Lift is P(fire | category) / P(fire), 1 by chance, with the 95 % Wilson interval of its numerator. That"
        " takes tokens as independent, and is somewhat narrow where those of one document are alike. Of"
        f" {len(latents):,} shown latents at most {LISTED} a category, by low ends, chosen on these"
        f" tokens. All is {given}.",
    )
    return [table, *left_out_tables("category", left_out | without_latents)]


def _best(firing: FiringCounts, latents: Sequence[int], name: str, index: int) -> dict[int, list[Cell]]:
    """The best latents of a category, by the low end of the lift's interval; raises `TooFewError` where none fires."""
    n = int(firing.n["token"][index])
    hits = dict(zip(latents, firing.counts["token"][index][list(latents)].int().tolist(), strict=True))
    shares = {latent: wilson(count, n) for latent, count in hits.items() if count >= LEAST_FIRINGS}
    if not shares:
        raise TooFewError(
            f"{name}: none of the {len(latents):,} shown latents fired on {LEAST_FIRINGS} of its {n:,} tokens:"
            " read more --tokens"
        )
    frequency = {latent: int(firing.fired[latent]) / firing.tokens for latent in shares}
    lifts = {
        latent: Estimate(*(bound / frequency[latent] for bound in astuple(share)[:3]))
        for latent, share in shares.items()
    }
    best = sorted(lifts, key=lambda latent: lifts[latent].low or 0.0, reverse=True)[:LISTED]
    return {latent: [lifts[latent], shares[latent].value, frequency[latent]] for latent in best}
