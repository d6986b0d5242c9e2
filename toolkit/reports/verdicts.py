"""Verdicts as a table and as results: what is claimed, and whether it shows after adjustment over all claims."""

from collections.abc import Sequence
from typing import Any

from toolkit.reports.findings import Cell, Table
from toolkit.statistics.verdicts import ALPHA, Claim, judge

YES, NO = "yes", "no"
VERDICTS = "What shows"
"""Title of the table of one page's verdicts."""


def verdict_table(claims: Sequence[Claim], *, title: str = VERDICTS, note: str = "") -> Table:
    """Judge claims together, one a row, each with the margin that is least certain; `note` stands before ours."""
    verdicts = judge(claims)
    rows: list[list[Cell]] = []
    for verdict in verdicts:
        claim = verdict.claim
        margin = max(claim.margins, key=lambda each: each.difference.p_above(each.least))
        beyond = (
            f"{margin.over} {'−' if margin.least < 0 else '+'} {abs(margin.least):g}" if margin.least else margin.over
        )
        shows = YES if verdict.shows else NO
        rows.append([claim.name, claim.effect, margin.difference, beyond, claim.n, claim.p, verdict.p_adjusted, shows])
    held = sum(verdict.shows for verdict in verdicts)
    said = (
        f"{held} of {len(verdicts)} show. margin: how far the effect exceeds what it must exceed; of several margins,"
        " the least certain. over: that thing, and the least difference where one was set before anything was"
        f" measured. A claim shows where all its margins hold: adjusted p below {ALPHA:g} (Holm, over the"
        f" {len(verdicts)} rows)."
    )
    return Table(
        title=title,
        columns=("claim", "effect", "margin", "over", "n", "p", "adjusted p", "shows"),
        rows=rows,
        note=f"{note} {said}".strip(),
    )


def verdict_results(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Judge claims together, and return everything that is known of each."""
    return [
        {
            "claim": verdict.claim.name,
            "effect": verdict.claim.effect,
            "margins": [vars(margin) for margin in verdict.claim.margins],
            "n": verdict.claim.n,
            "p": verdict.claim.p,
            "p_adjusted": verdict.p_adjusted,
            "shows": verdict.shows,
        }
        for verdict in judge(claims)
    ]
