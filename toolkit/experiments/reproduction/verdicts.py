"""The verdicts of the comparing page: what all experiments claim, judged together."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from toolkit.reports.findings import Findings, Table
from toolkit.reports.verdicts import verdict_table
from toolkit.statistics.verdicts import ALPHA, Claim, judge


def all_claims(parts: Mapping[str, Findings]) -> list[Claim]:
    """The claims of all experiments, each with the experiment's name before its own."""
    return [replace(claim, name=f"{name}: {claim.name}") for name, part in parts.items() for claim in part.claims]


def truth_tables(claims: list[Claim]) -> list[Table]:
    """What was planted, and whether it shows; no table where nothing is claimed."""
    if not claims:
        return []
    alone = sum(claim.p < ALPHA for claim in claims)
    note = f"{alone} of {len(claims)} would show if each were judged alone. One latent may stand behind several rows."
    return [verdict_table(claims, title="Beside the truth", note=note)]


def verdict_numbers(claims: list[Claim]) -> dict[str, dict[str, Any]]:
    """The verdicts by claim."""
    return {
        each.claim.name: {"p": each.claim.p, "p_adjusted": each.p_adjusted, "shows": each.shows}
        for each in judge(claims)
    }
