"""One page for the whole reproduction: our numbers beside the paper's, or beside what was planted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from toolkit.findings.published import load_published
from toolkit.reports.findings import Cell, Chart, Estimate, Findings, Table
from toolkit.runs.control import is_embedded
from toolkit.runs.subject import Subject

SHOWN_FIRST = ("reconstruction", "latent classes")
FALL, TIMES = 2.0, 3.0
DIMS = "20"
MEASURES: tuple[Literal["crosscoder", "parallelogram", "ablation"], ...] = ("crosscoder", "parallelogram", "ablation")
YES, NO = "yes", "no"


def comparison_findings(
    preset: str | None, subject: Subject, parts: Mapping[str, Findings], results: Mapping[str, Any]
) -> Findings:
    """The comparing page; `preset` names the pair whose published numbers it is set beside."""
    embedded = is_embedded(subject.pair)
    tables = truth_tables(results) if embedded else published_tables(preset, results)
    return Findings(
        name="comparison",
        title="Every experiment of the paper, on one pair",
        question=(
            "Do the methods find what was planted in these models?"
            if embedded
            else "Do the paper's findings come out again?"
        ),
        facts=subject.facts() | {name: f"{part.name}.html" for name, part in parts.items()},
        headline=list({row.name: row for name in SHOWN_FIRST for row in parts[name].headline}.values()),
        tables=[
            *tables,
            *(replace(table, detail=True) for part in parts.values() for table in part.tables if not table.detail),
        ],
        charts=_charts(parts),
        texts=parts["steering"].texts,
        results=results,
    )


def _charts(parts: Mapping[str, Findings]) -> list[Chart]:
    """The charts of all experiments; the paper's protocol has the same names as ours, and is on its own page."""
    return [chart for name, part in parts.items() if part.name != "ablation_paper" for chart in part.charts]


def truth_tables(results: Mapping[str, Any]) -> list[Table]:
    """What was planted, what was measured, and whether it shows."""
    rows = [
        *(_ablation_row(name, found) for name, found in results["ablation"].items()),
        *(_steering_row(name, found) for name, found in results["steering_against_chance"].items()),
        *(_geometry_row(name, found) for name, found in results["geometry"].items()),
    ]
    held = sum(row[-1] == YES for row in rows)
    return [
        Table(
            title="Beside the truth",
            columns=("planted", "measured", "control", "n", "shows"),
            rows=rows,
            note=(
                f"{held} of {len(rows)} show. Words: only the distilled model thinks aloud with them; change of their"
                " logit, top 2 % of latents, beside the activation-matched control's; shows: a fall of at least"
                f" {FALL:g}, {TIMES:g} times the base model's, intervals apart from the control's. Steering: slope of"
                " ln(length) by strength, beside the best random direction's; shows: steeper, with an interval that"
                " leaves out 0. Word pairs: all forms of a word share attributes, in both models; parallelogram loss"
                " of the distilled model at 20 dimensions beside its shuffled null; shows: the gap's interval leaves"
                " out 0."
            ),
        )
    ]


def _ablation_row(name: str, found: Mapping[str, Any]) -> list[Cell]:
    by_arm = found["by_share"]["0.02"]
    distilled, control = (_of(by_arm[arm]["distilled"]) for arm in ("chosen", "matched"))
    assert distilled.high is not None
    assert control.low is not None
    base_fall = max(0.0, -found["base"])
    shows = distilled.value <= -FALL and -distilled.value >= TIMES * base_fall and distilled.high < control.low
    return [f"{name} words", distilled, control, found["n"], YES if shows else NO]


def _steering_row(name: str, found: Mapping[str, Any]) -> list[Cell]:
    latent, random, better = (_of(found[key]) for key in ("slope", "random_slope", "slope_minus_random"))
    assert better.low is not None
    shows = better.low > 0 and (latent.value > 0) == (found["toward"] == "longer")
    return [f"{name} steers {found['toward']}", latent, random, found["n"], YES if shows else NO]


def _geometry_row(name: str, found: Mapping[str, Any]) -> list[Cell]:
    mean, shuffled, gap = (_of(found["distilled"][key]) for key in ("mean", "shuffled", "gap"))
    assert gap.low is not None
    n = found["distilled"]["n_quadruples"]
    return [f"{name} pairs", mean, shuffled, n, YES if gap.low > 0 else NO]


def published_tables(preset: str | None, results: Mapping[str, Any]) -> list[Table]:
    """Our numbers beside the paper's for the same pair, where it has any."""
    crosscoder, words, ablation = (load_published(name) for name in MEASURES)
    tables = []
    if preset in crosscoder["pairs"]:
        tables.append(_table("Reconstruction", _crosscoder_rows(crosscoder["pairs"][preset], results), crosscoder))
    if preset in words["pairs"]:
        tables.append(_table(f"Parallelogram loss, {DIMS}D", _geometry_rows(words["pairs"][preset], results), words))
    tables.append(_table("Ablation, the paper's protocol, top 2 %", _ablation_rows(ablation, results), ablation))
    return tables


def _table(title: str, rows: list[list[Cell]], published: Mapping[str, Any]) -> Table:
    return Table(
        title=f"{title}: beside the published",
        columns=("", "ours, base", "published, base", "ours, distilled", "published, distilled"),
        rows=rows,
        note=f"Published: {published['source']}. There: {published['measure']}.",
    )


def _crosscoder_rows(known: Mapping[str, Any], results: Mapping[str, Any]) -> list[list[Cell]]:
    ours = results["reconstruction"]
    nrn = results["nrn"]
    rows: list[list[Cell]] = []
    if "fve" in known:
        rows.append(["FVE", ours.get("fve_base"), known["fve"], ours.get("fve_distilled"), known["fve"]])
    if "l0" in known:
        rows.append(["L0, both models", ours["l0"], known["l0"], None, None])
    if "nrn" in known:
        rows.append(
            ["mean NRN, both models", Estimate(nrn["value"], nrn["low"], nrn["high"]), known["nrn"], None, None]
        )
    return rows


def _geometry_rows(known: Mapping[str, Any], results: Mapping[str, Any]) -> list[list[Cell]]:
    return [
        [
            name,
            _of(results["geometry"][name]["base"]["mean"]),
            theirs["base"][DIMS],
            _of(results["geometry"][name]["distilled"]["mean"]),
            theirs["distilled"][DIMS],
        ]
        for name, theirs in known.items()
        if name in results["geometry"]
    ]


def _ablation_rows(published: Mapping[str, Any], results: Mapping[str, Any]) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for name, found in results["ablation_paper"].items():
        theirs = published["categories"].get(name, {}).get("2 %", {}).get("selected", {})
        chosen = found["by_share"]["0.02"]["chosen"]
        rows.append([name, _of(chosen["base"]), theirs.get("base"), _of(chosen["distilled"]), theirs.get("distilled")])
    return rows


def _of(values: Mapping[str, float]) -> Estimate:
    return Estimate(values["value"], values["low"], values["high"])
