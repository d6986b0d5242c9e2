"""One page for the whole reproduction: our numbers beside the paper's, or beside what was planted."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from toolkit.experiments.ablation import share_name
from toolkit.experiments.control import is_embedded
from toolkit.experiments.reproduction.verdicts import all_claims, truth_tables
from toolkit.experiments.run import Run
from toolkit.reports.findings import Cell, Chart, Findings, Table, left_out_tables
from toolkit.reports.verdicts import VERDICTS
from toolkit.statistics.estimates import Estimate

PUBLISHED = Path(__file__).parents[2] / "data" / "published"
SHOWN_FIRST = ("reconstruction", "latent classes")
DIMS = "20"
MODELS = ("base", "distilled")
MEASURES: tuple[Literal["crosscoder", "parallelogram", "ablation"], ...] = ("crosscoder", "parallelogram", "ablation")


def comparison_findings(
    run: Run, parts: Mapping[str, Findings], left_out: Mapping[str, str], results: Mapping[str, Any]
) -> Findings:
    """The comparing page, with all that the others show, and why some parts found nothing."""
    embedded, claims = is_embedded(run.models), all_claims(parts)
    tables = truth_tables(claims) if embedded else published_tables(run.reading.models.pair, results)
    return Findings(
        name="results",
        title="Every experiment of the paper, on one pair",
        question=(
            "Do the methods find what was planted in these models?"
            if embedded
            else "Do the paper's findings come out again?"
        ),
        facts=run.facts() | {name: f"{part.name}.html" for name, part in parts.items()},
        headline=list(
            {row.name: row for name in SHOWN_FIRST if name in parts for row in parts[name].headline}.values()
        ),
        tables=[
            *tables,
            *left_out_tables("experiment", left_out),
            *(
                replace(table, title=f"{name}: {table.title}", detail=True)
                for name, part in parts.items()
                for table in part.tables
                if not table.detail and table.title != VERDICTS  # judged over one experiment's claims alone
            ),
        ],
        charts=[
            Chart(name=f"{part.name}_{chart.name}", figure=chart.figure, caption=f"{name}: {chart.caption}")
            for name, part in parts.items()
            for chart in part.charts
        ],
        texts=parts["steering"].texts if "steering" in parts else (),
        claims=claims,
        results=results,
    )


def load_published(measure: Literal["ablation", "crosscoder", "parallelogram"]) -> dict[str, Any]:
    """Read the published means of one measure; `source` and `measure` say where they are from and what they are."""
    content: dict[str, Any] = json.loads((PUBLISHED / f"{measure}.json").read_text(encoding="utf-8"))
    return content


def published_tables(preset: str | None, results: Mapping[str, Any]) -> list[Table]:
    """Our numbers beside the paper's for the same pair, where it has any."""
    crosscoder, words, ablation = (load_published(name) for name in MEASURES)
    paper = results.get("ablation_paper", {}) if preset == ablation["pair"] else {}
    share = next((share_name(found["share"]) for found in paper.values()), "")
    tables = [
        _table("Reconstruction", _crosscoder_rows(crosscoder["pairs"].get(preset, {}), results), crosscoder),
        _table(f"Parallelogram loss, {DIMS}D", _geometry_rows(words["pairs"].get(preset, {}), results), words),
        _table(f"Ablation, the paper's protocol, top {share}", _ablation_rows(ablation, paper), ablation),
    ]
    return [table for table in tables if table.rows]


def _table(title: str, rows: list[list[Cell]], published: Mapping[str, Any]) -> Table:
    return Table(
        title=f"{title}: beside the published",
        columns=("", "ours, base", "published, base", "ours, distilled", "published, distilled"),
        rows=rows,
        note=f"Published: {published['source']}. There: {published['measure']}.",
    )


def _crosscoder_rows(known: Mapping[str, Any], results: Mapping[str, Any]) -> list[list[Cell]]:
    ours, nrn = results.get("reconstruction", {}), results.get("nrn")
    rows: list[list[Cell]] = []
    if "fve" in known and ours:
        rows.append(["FVE", ours.get("fve_base"), known["fve"], ours.get("fve_distilled"), known["fve"]])
    if "l0" in known and ours:
        rows.append(["L0, both models", ours["l0"], known["l0"], None, None])
    if "nrn" in known and nrn:
        both = Estimate(nrn["value"], nrn["low"], nrn["high"])
        rows.append([f"mean NRN (neutral {nrn['neutral']:.3f}), both models", both, known["nrn"], None, None])
    return rows


def _geometry_rows(known: Mapping[str, Any], results: Mapping[str, Any]) -> list[list[Cell]]:
    geometry = results.get("geometry", {})
    return [
        [name, *(cell for model in MODELS for cell in (geometry[name][model]["mean"], theirs[model][DIMS]))]
        for name, theirs in known.items()
        if name in geometry
    ]


def _ablation_rows(published: Mapping[str, Any], paper: Mapping[str, Any]) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for name, found in paper.items():
        theirs = published["categories"].get(name, {}).get(share_name(found["share"]), {}).get("selected", {})
        rows.append([name, *(cell for model in MODELS for cell in (found["intervals"][model], theirs.get(model)))])
    return rows
