"""How findings tell which latents find labelled behaviours: one table, and the same as results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.formatting import counted
from toolkit.latents.behaviours import FLOOR_DRAWS, LEAST_MARGIN, AboveFloor, FoundBehaviour, behaviour_claims
from toolkit.latents.labelled_units import FALSE_ALARMS, TOGETHER
from toolkit.latents.span_information import NUMBERS, SpanInformation
from toolkit.reports.findings import Cell, Table
from toolkit.reports.verdicts import NO, YES, verdict_results
from toolkit.statistics.verdicts import ALPHA, Claim, judge

TITLE = "What finds each label"
COLUMNS = ("label", "read from", "AUROC", "floor", "difference", "ceiling", "recall", "n tokens", "p", "adjusted p")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What units are latents of, and what floor and ceiling were read from, in words."""

    best: str
    """Which latent is read alone."""
    chance: str
    """What directions of the floor are of."""
    probed: str
    named: Callable[[int], str] = str
    """What a latent is called."""


CROSSCODERS = Compared(
    best="the best latent of each crosscoder", chance="of the last model's stream", probed="all streams"
)


def behaviour_table(
    found: Sequence[FoundBehaviour],
    note: str = "",
    beside: Sequence[Claim] = (),
    compared: Compared = CROSSCODERS,
) -> Table:
    """Tell of each label how well one latent finds it, and several together, between floor and ceiling.

    `beside` are the other claims of the page, with which these are judged.
    """
    read = [(each, _best_latents(each, compared.named), each.one) for each in found]
    read += [(each, f"{TOGETHER} latents", each.together) for each in found]
    claims = behaviour_claims(found)
    verdicts = judge([*claims, *beside])[: len(claims)]
    rows: list[list[Cell]] = [
        [
            each.behaviour, latents, reached.auroc, reached.floor, reached.margin, each.ceiling, reached.recall,
            each.n_tokens, verdict.claim.p, verdict.p_adjusted, YES if verdict.shows else NO,
        ]
        for (each, latents, reached), verdict in zip(read, verdicts, strict=True)
    ]  # fmt: skip
    held = sum(verdict.shows for verdict in verdicts)
    said = (
        f"{held} of {len(verdicts)} show. Latents are chosen on half of the documents and tested on the other half:"
        f" {compared.best}, and {TOGETHER} that together tell most. AUROC: how well"
        " they tell the label's n tokens from all others; .5 is chance, 1 perfect. Floor: the best of"
        f" {FLOOR_DRAWS} random dictionaries, as many directions {compared.chance}, each firing as often as a latent."
        f" Ceiling: a linear probe of {compared.probed}. Recall: share of the label's tokens found at"
        f" {FALSE_ALARMS:.0%} false alarms. Shows: the difference from the floor is above {LEAST_MARGIN:g}, with an"
        f" adjusted p below {ALPHA:g} (Holm, over the {len(claims) + len(beside)} claims of the page)."
    )
    return Table(title=TITLE, columns=(*COLUMNS, "shows"), rows=rows, note=f"{note} {said}".strip())


def _best_latents(found: FoundBehaviour, named: Callable[[int], str]) -> str:
    return ", ".join(named(units[0]) for units in found.latents.values())


def information_table(found: SpanInformation) -> Table:
    """Tell how well each label is read from the streams, their reconstruction, and more and more latents."""
    columns = ("label", "of variance", "streams", "reconstruction", "error", *(counted(n, "latent") for n in NUMBERS))
    rows: list[list[Cell]] = [
        [each.label, each.of_variance, each.streams, each.reconstruction, each.error]
        + [each.by_latents.get(n) for n in NUMBERS]
        for each in found.labels
    ]
    note = (
        "AUROC on the documents that test, given this crosscoder. Of variance: share of the streams' variance between"
        " the label's tokens and the others; between tokens of different ids lie"
        f" {found.variance_of_tokens:.0%}. Streams: a linear probe; the same probe is then applied to the"
        " reconstruction, and to the error, which is what the reconstruction lacks. Latents: so many, weighted by least"
        " squares; a label that many latents are needed for is kept, but none of them stands for it."
    )
    return Table(title="Where the information on a label is", columns=columns, rows=rows, note=note, detail=True)


def behaviour_results(found: Sequence[FoundBehaviour], named: Callable[[int], int | str] = int) -> dict[str, Any]:
    """Return every number of the table, and those of each dictionary by its seed; `named` calls latents by name."""
    return {
        "behaviours": [
            {
                "behaviour": each.behaviour,
                "latent": named(next(iter(each.latents.values()))[0]),
                "firing_rate": each.firing_rate,
            }
            | {"auroc": each.one.auroc.value, "low": each.one.auroc.low, "high": each.one.auroc.high}
            | {"recall": each.one.recall, "floor": each.one.floor, "margin": each.one.margin}
            | {"together": _reached(each.together)}
            | {"n_tokens": each.n_tokens, "n_documents": each.n_documents}
            | {"seeds": {str(seed): _of_seed(each, seed, named) for seed in each.latents}}
            for each in found
        ],
        "floor": {each.behaviour: each.one.floor for each in found},
        "ceiling": {each.behaviour: each.ceiling for each in found},
        "verdicts": verdict_results(behaviour_claims(found)),
    }


def _reached(together: AboveFloor) -> dict[str, Any]:
    return {
        "auroc": together.auroc,
        "recall": together.recall,
        "floor": together.floor,
        "margin": together.margin,
    }


def _of_seed(found: FoundBehaviour, seed: int, named: Callable[[int], int | str]) -> dict[str, Any]:
    latents, one, together = [*map(named, found.latents[seed])], found.one.by_seed[seed], found.together.by_seed[seed]
    return {"latent": latents[0], "auroc": one, "latents": latents, "together": together}


def information_results(found: SpanInformation) -> dict[str, Any]:
    """Return every number of the table."""
    return {
        "information": {
            each.label: vars(each) | {"by_latents": {str(n): read for n, read in each.by_latents.items()}}
            for each in found.labels
        },
        "variance_of_tokens": found.variance_of_tokens,
    }
