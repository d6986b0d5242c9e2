"""The comparison as tables, figures and JSON."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from toolkit.experiments.compare_methods import CompareMethodsConfig
from toolkit.experiments.compare_methods.advice import advice_table
from toolkit.experiments.compare_methods.effects import STRENGTH, Effects
from toolkit.experiments.compare_methods.figures import between_floor_and_ceiling
from toolkit.experiments.compare_methods.measure import Comparison
from toolkit.experiments.compare_methods.methods import METHODS
from toolkit.experiments.compare_methods.results import chosen, results
from toolkit.experiments.compare_methods.study import DENSE, SPARSE, Found
from toolkit.experiments.compare_methods.verdicts import (
    LEAST_MARGIN,
    Shows,
    count,
    difference_claims,
    false_discoveries,
    marking_claims,
    shown,
)
from toolkit.experiments.control import control_files
from toolkit.experiments.opening import models_of
from toolkit.experiments.run import Run
from toolkit.formatting import size
from toolkit.models.model_set import ModelSet
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table
from toolkit.reports.verdicts import verdict_table
from toolkit.statistics.estimates import Estimate

PROBE = "ceiling: linear probe"
FP32 = 4


def page(settings: CompareMethodsConfig, opened: ModelSet | Run, found: Comparison) -> Findings:
    """Which methods beat chance, which claim differences where there are none, what their directions do and cost."""
    models, claims = models_of(opened), marking_claims(found.pair)
    shows = shown(claims, found.pair)
    verdicts = verdict_table(claims, title="What marks a behaviour")
    return Findings(
        name="compare_methods",
        title=f"Methods compared: {' → '.join(models.origins)}",
        question="Which method finds what distillation planted?",
        facts=_facts(settings, models, found),
        headline=_headline(found, shows),
        tables=[
            _auroc_table(found, shows),
            _null_table(found),
            advice_table(found),
            _cost_table(found),
            replace(verdicts, detail=True),
            _cells(
                "Best five units together",
                found,
                lambda each: each.together,
                "AUROC of five units, weighted by least squares.",
            ),
            _cells(
                "Recall of the best unit",
                found,
                lambda each: each.recall,
                "Share of the tokens found at 5 % false alarms.",
            ),
            *_effect_tables(found),
            *_lens_table(found),
            _about(),
        ],
        charts=_charts(found, shows),
        claims=claims,
        results=results(found, shows),
        provenance={"data": found.origin, "sha256": control_files(settings.models, settings.where, models)},
    )


def _facts(settings: CompareMethodsConfig, models: ModelSet, found: Comparison) -> dict[str, str]:
    tokens = found.pair.tokens
    n_tested = len(tokens.tested.unique())
    left_out = found.labelled.sections_left_out
    said = f"; {left_out:,} annotated sections that their response does not hold are left out" if left_out else ""
    return {
        "models": " → ".join(models.origins),
        "site": f"input of layer {models.layers[0]} of {models.n_layers}, width {models.d_model}",
        "null pair": f"{models.origins[0]} → {found.null_source}" if found.null else found.null_source,
        "text": f"{settings.tokens:,} tokens to learn from; labelled: {len(found.labelled.documents):,} documents,"
        f" {len(tokens.label):,} tokens; {n_tested:,} documents test{said}",
        "seeds": f"{settings.seeds} of each dictionary; {settings.draws} draws of random units",
    }


def _headline(found: Comparison, shows: Shows) -> list[Headline]:
    n, marked = len(found.pair.tokens.measurable), count(shows)
    best = max(marked, key=lambda name: marked[name])
    most = f"by {best}, the most of any method" if marked[best] else "no method marks any"
    claimed = count(shown(difference_claims(found.pair), found.pair))
    rows = [
        Headline(
            name="behaviours marked",
            value=marked[best],
            n=n,
            unit="behaviours",
            note=f"{most}: above the {SPARSE} by {LEAST_MARGIN:g}, adjusted over all rows",
        ),
        Headline(
            name="methods that mark most",
            value=sum(2 * each > n for each in marked.values()),
            n=len(marked),
            unit="methods",
            note="mark more than half of the behaviours",
        ),
    ]
    if found.null is not None:
        false = false_discoveries(found)
        rows.append(
            Headline(
                name="false discoveries",
                value=sum(false.values()),
                n=len(false) * n,
                unit="claims on the null pair",
                note=f"differences claimed where none was distilled; {sum(claimed.values())} are claimed on the pair",
            )
        )
    return rows


def _auroc_table(found: Comparison, shows: Shows) -> Table:
    behaviours, marked = found.pair.tokens.measurable, count(shows)
    rows: list[list[Cell]] = [
        [f"floor: {kind}", *(by_behaviour[each].auroc for each in behaviours), None]
        for kind, by_behaviour in found.pair.floors.items()
    ]
    rows += [
        [name, *(method.any_unit[each].auroc for each in behaviours), f"{marked[name]} of {len(behaviours)}"]
        for name, method in found.pair.methods.items()
    ]
    rows.append([PROBE, *(found.ceilings[each].auroc for each in behaviours), None])
    return Table(
        title="AUROC of the best unit",
        columns=("method", *behaviours, "beats floor"),
        rows=rows,
        note="A unit, and each method's size and sparsity, are chosen on even documents and tested on odd ones."
        f" Intervals contain how documents, seeds and draws vary. {SPARSE.capitalize()}: as many units as the default's"
        " dictionary, firing as often;"
        f" {DENSE}: read without a threshold. A method beats the floor where its AUROC is above the {SPARSE} by"
        f" {LEAST_MARGIN:g}, Holm-adjusted over all methods and behaviours; dense units must beat {DENSE} too.",
    )


def _null_table(found: Comparison) -> Table:
    claimed, false = count(shown(difference_claims(found.pair), found.pair)), false_discoveries(found)
    n = len(found.pair.tokens.measurable)
    rows: list[list[Cell]] = []
    for name, method in found.pair.methods.items():
        null = found.null.methods[name].n_claimed if found.null else None
        wrong = f"{false[name]} of {n}" if found.null else None
        rows.append([name, method.n_claimed, f"{claimed[name]} of {n}", null, wrong])
    return Table(
        title="Differences claimed, and false ones",
        columns=("method", "units claimed", "behaviours", "null: units claimed", "null: behaviours"),
        rows=rows,
        note="Only units that the method calls the last model's own count. On the null pair, base and control, they"
        " must not beat that pair's own floor. The text holds the behaviours on both pairs: a method that reads one"
        " stream alone marks them on both.",
    )


def _cost_table(found: Comparison) -> Table:
    rows: list[list[Cell]] = []
    for name, method in found.pair.methods.items():
        spreads = [each.spread for each in method.any_unit.values() if each.spread is not None]
        rows.append(
            [name, method.configurations, chosen(name, method), method.l0, max(spreads, default=None), method.seconds,
             size(FP32 * method.parameters)]
        )  # fmt: skip
    return Table(
        title="Choices, stability and cost",
        columns=("method", "configurations", "chosen", "L0", "spread over seeds", "seconds", "memory"),
        rows=rows,
        note="Spread: the largest standard deviation of AUROC over seeds, of any behaviour. Seconds: of one set of"
        " units, without reading the text. Memory: of the numbers that it keeps, as fp32.",
    )


def _cells(title: str, found: Comparison, cell: Callable[[Found], Cell], note: str) -> Table:
    behaviours = found.pair.tokens.measurable
    rows = [
        [name, *(cell(method.any_unit[each]) for each in behaviours)] for name, method in found.pair.methods.items()
    ]
    return Table(title=title, columns=("method", *behaviours), rows=rows, note=note, detail=True)


def _effect_tables(found: Comparison) -> list[Table]:
    measures: dict[str, tuple[Callable[[Effects], Mapping[str, Estimate]], str]] = {
        "Taken out: change of the first word's log probability": (
            lambda each: each.removed,
            "In nats, less that of random directions of the same length, in the last model, at the position before the"
            " behaviour begins. Below 0, the word gets less likely.",
        ),
        "Taken out: specificity": (
            lambda each: each.specific,
            "The change before the behaviour's own beginnings, less the lowest change before those of another, in nats."
            " A direction is specific where the interval is below 0.",
        ),
        "Added: the behaviour's first words": (
            lambda each: each.steered,
            f"The change per 1,000 tokens at {STRENGTH:g} of the stream's norm, less that of random directions.",
        ),
        "Added: length": (
            lambda each: each.length,
            "The change of the number of tokens written, less that of random directions.",
        ),
    }
    behaviours, tables = found.pair.tokens.measurable, []
    for title, (measure, note) in measures.items():
        rows: list[list[Cell]] = [
            [name, *(measure(effects).get(each) for each in behaviours)]
            for name, effects in found.effects.items()
            if measure(effects)
        ]
        if rows:
            tables.append(
                Table(
                    title=title,
                    columns=("method", *behaviours),
                    rows=rows,
                    note=note,
                    detail=not title.startswith("Taken"),
                )
            )
    return tables


def _lens_table(found: Comparison) -> list[Table]:
    rows = [[str(position), " ".join(tokens)] for position, tokens in found.first_tokens.items()]
    note = "The logit lens of the mean difference at each of the first positions that count, in the last model."
    return [
        Table(
            title="Difference at first positions", columns=("position", "promotes"), rows=rows, note=note, detail=True
        )
    ]


def _about() -> Table:
    rows = [[name, method.about] for name, method in METHODS.items()]
    return Table(title="What a unit is", columns=("method", "unit, and what is claimed of it"), rows=rows, detail=True)


def _charts(found: Comparison, shows: Shows) -> list[Chart]:
    return [
        Chart(
            name=behaviour,
            figure=between_floor_and_ceiling(
                {name: method.any_unit[behaviour].auroc for name, method in found.pair.methods.items()},
                {kind: floors[behaviour].auroc for kind, floors in found.pair.floors.items()},
                found.ceilings[behaviour].auroc,
                {name: each[behaviour] for name, each in shows.items()},
                behaviour,
            ),
            caption=f"How well each method's best unit marks {behaviour}, between random units and a probe; orange:"
            " beats the floor after adjustment.",
        )
        for behaviour in found.pair.tokens.measurable
    ]
