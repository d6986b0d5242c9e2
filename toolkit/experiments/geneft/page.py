"""Whether repons meet as predicted, and where the graph's autoencoder generalises: tables, two figures and JSON."""

from itertools import pairwise
from typing import Any

from toolkit.experiments.geneft import GenEFTConfig
from toolkit.experiments.geneft.claims import claims
from toolkit.experiments.geneft.figures import graph_phases, phase_diagram
from toolkit.experiments.geneft.graph import GENERALISES, LEARNT, LINKED, PHASES, bits_of_graph, least_fraction
from toolkit.experiments.geneft.measure import (
    DESCENT,
    EQUATIONS,
    FAST_DECODER,
    FAST_ENCODER,
    OFF_ORIGIN,
    SHUFFLED,
    Autoencoders,
    GenEFT,
    Repons,
)
from toolkit.experiments.geneft.repons import DIE, MEET, UNDECIDED
from toolkit.formatting import percent
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table
from toolkit.reports.verdicts import verdict_results, verdict_table
from toolkit.statistics.shares import wilson

FIRST_STEPS = (0.0, 0.1, 1.0, float("inf"))
"""Ends of the classes by how much of A or c the first step takes away; beyond 1, a step overshoots."""
OUTCOMES = {"meet": MEET, "die": DIE, "undecided": UNDECIDED}


def page(settings: GenEFTConfig, opened: None, found: GenEFT) -> Findings:
    """The agreement of the sign with both ways to move, then the phases of the autoencoders."""
    judged, n = claims(found), len(found.repons.shuffled)
    agreement = found.repons.agreement
    return Findings(
        name="geneft",
        title="GenEFT: when does a network generalise instead of memorising?",
        question="Do two repons meet as their conserved quantity says, and when does a graph's autoencoder generalise?",
        facts={
            "repons": f"{n:,} draws of A, c and two learning rates",
            "graph": f"30 nodes, linked where equal modulo 3: {int(LINKED.sum())} of {len(LINKED)} pairs;"
            f" {settings.seeds} seeds, {settings.steps:,} steps of Adam each",
        },
        headline=[
            Headline(
                name="pairs of repons that gradient descent moves as the sign says",
                value=agreement[DESCENT],
                n=n,
                unit="draws",
                note=f"as the sign of another draw says: {percent(agreement[SHUFFLED].value)}",
            ),
            Headline(
                name="test accuracy gained by a faster encoder",
                value=found.gain_of_fast_encoders,
                n=settings.seeds,
                unit="seeds",
                note="encoder's rate above the decoder's, less the reverse",
            ),
        ],
        tables=[
            verdict_table(judged),
            _agreement_table(found.repons),
            _steps_table(found.repons),
            _accuracy_table("Graph, by learning rates", found.by_rates, settings),
            *(_accuracy_table(f"Graph, {name}", scan, settings) for name, scan in found.by_fraction.items()),
        ],
        charts=_charts(found),
        claims=judged,
        results=_results(found) | {"verdicts": verdict_results(judged)},
    )


def _agreement_table(repons: Repons) -> Table:
    rows: list[list[Cell]] = []
    for name, share in repons.agreement.items():
        outcome = repons.outcomes.get(name)
        counts = [None if outcome is None else int((outcome == number).sum()) for number in OUTCOMES.values()]
        rows.append([name, share, *counts])
    return Table(
        title="Repons: do they end as the sign of A²/(2η_A) − c²/η_x says?",
        columns=("moved by", "as the sign says", *OUTCOMES),
        rows=rows,
        note=f"n = {len(repons.shuffled):,} draws; Wilson's 95 % intervals. A pair of which neither A nor c fell to 1 %"
        f" counts as one that did not end as predicted. {OFF_ORIGIN}: the repons' mean is drawn from a normal"
        " distribution, so that the decoder's bias moves too, which the equations leave out."
        f" {SHUFFLED}: the control, on the outcomes of gradient descent.",
    )


def _steps_table(repons: Repons) -> Table:
    rows: list[list[Cell]] = []
    for low, high in pairwise(FIRST_STEPS):
        here = (repons.draws.first_step >= low) & (repons.draws.first_step < high)
        if n := int(here.sum()):
            shares = [wilson(int(repons.agrees(how)[here].sum()), n) for how in (EQUATIONS, DESCENT)]
            rows.append([f"{low:g} to {high:g}" if high < float("inf") else f"above {low:g}", n, *shares])
    return Table(
        title="Repons: by the size of the first step",
        columns=("share of A or c that it takes away", "draws", EQUATIONS, DESCENT),
        rows=rows,
        note="The sign holds for infinitely small steps; above 1 the first step overshoots.",
    )


def _accuracy_table(title: str, groups: tuple[Autoencoders, ...], settings: GenEFTConfig) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{each.encoder_rate:g}, {each.decoder_rate:g}",
            percent(each.fraction),
            each.trained.value,
            each.tested,
            *(each.phases[phase] for phase in PHASES),
        ]
        for each in groups
    ]
    return Table(
        title=title,
        columns=("encoder's rate, decoder's rate", "trained on", "trained pairs right", "test pairs right", *PHASES),
        rows=rows,
        note=f"n = {settings.seeds} seeds, each with initial weights and training pairs of its own; 95 % t intervals"
        f" over them. The last columns count seeds: one {GENERALISES} where {LEARNT:.0%} of its test pairs are right."
        f" To say that no two nodes are linked is right for {percent(1 - float(LINKED.double().mean()))}.",
        detail=True,
    )


def _charts(found: GenEFT) -> list[Chart]:
    bound = least_fraction()
    return [
        Chart(
            name="repons",
            figure=phase_diagram(found.repons),
            caption="Each draw by the two parts of its conserved quantity. Above the line the repons should meet, below"
            " it the decoder should die.",
        ),
        Chart(
            name="graph",
            figure=graph_phases(found.by_rates, found.by_fraction, bound),
            caption=f"Means over seeds. {FAST_ENCODER}, {FAST_DECODER}: rates {_rates(found, FAST_ENCODER)} and"
            f" {_rates(found, FAST_DECODER)} of encoder and decoder. The graph takes {bits_of_graph():.1f} bits to tell"
            f" from its relabelled copies, and fewer than {percent(bound)} of the pairs hold fewer: there nobody can"
            " know it. Where the transition comes above that bound, no formula says.",
        ),
    ]


def _rates(found: GenEFT, name: str) -> str:
    one = found.by_fraction[name][0]
    return f"({one.encoder_rate:g}, {one.decoder_rate:g})"


def _results(found: GenEFT) -> dict[str, Any]:
    both = found.repons.agreement_of_both
    return {
        "agreement": {"value": both.value, "low": both.low, "high": both.high, "n": len(found.repons.shuffled)}
        | {name.replace(" ", "_").replace(",", ""): share for name, share in found.repons.agreement.items()},
        "phases": {
            "rates": [_of_group(each) for each in found.by_rates],
            **{name.replace(" ", "_"): [_of_group(each) for each in scan] for name, scan in found.by_fraction.items()},
        },
        "gain_of_fast_encoders": found.gain_of_fast_encoders,
        "information_bound": {"bits": bits_of_graph(), "fraction": least_fraction()},
    }


def _of_group(group: Autoencoders) -> dict[str, Any]:
    return {
        "encoder_rate": group.encoder_rate,
        "decoder_rate": group.decoder_rate,
        "fraction": group.fraction,
        "trained": group.trained,
        "tested": group.tested,
        "seeds": {phase.replace(" ", "_"): n for phase, n in group.phases.items()},
    }
