"""An experiment's findings as files: one page to read, its figures as PNG, every number as JSON."""

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from toolkit.artifacts import write_json
from toolkit.outputs import OutputFolder, findings_claim
from toolkit.reports.console import RunConsole
from toolkit.reports.drawing import save_pngs
from toolkit.reports.findings import Findings, SideBySide
from toolkit.reports.markup import (
    code,
    columns,
    document,
    figure_gallery,
    headline_list,
    pairs,
    section,
    table,
)
from toolkit.statistics import Estimate


def publish(folder: Path, console: RunConsole, findings: Findings, provenance: Mapping[str, Any]) -> None:
    """Write the page, its figures and the JSON into `folder`, and show all of it in the terminal."""
    page = write_findings(folder, findings, provenance)
    console.findings(findings)
    console.note(f"page: {page}")


def write_findings(folder: Path, findings: Findings, provenance: Mapping[str, Any]) -> Path:
    """Write `<name>.json`, `figures/<name>_<chart>.png` and `<name>.html` into `folder`; return the page's path.

    The JSON file holds the question, the results and the provenance, as `write_results` writes them.
    Raises ValueError for files of these names that earlier findings did not leave so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {"question": findings.question, "results": findings.results, "provenance": provenance}
    figures = {f"{findings.name}_{chart.slug}": chart.figure for chart in findings.charts}
    page, numbers = f"{findings.name}.html", f"{findings.name}.json"
    outputs = OutputFolder(folder, (findings_claim(findings.name),))
    with outputs.writing(page, numbers, *(f"figures/{name}.png" for name in figures)):
        write_results(folder / numbers, content)
        save_pngs(folder / "figures", {name: each for name, each in figures.items() if isinstance(each, Figure)})
        (folder / page).write_text(render_findings(findings, provenance), encoding="utf-8")
    return folder / page


def write_results(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON in one move: an `Estimate` as {"value", "low", "high"}, a number that is not finite as null."""
    write_json(path, _finite(content))


def render_findings(findings: Findings, provenance: Mapping[str, Any]) -> str:
    """Return the page's HTML; all text of the findings is escaped."""
    charts = [(f"{findings.name}-{chart.slug}", chart.figure, chart.caption) for chart in findings.charts]
    return document(
        findings.title,
        findings.question,
        headline_list(findings.headline),
        *map(table, findings.tables),
        section("Figures", figure_gallery(charts)) if charts else "",
        *map(_side_by_side, findings.texts),
        section("What was measured", pairs(findings.facts)),
        *_origin(findings.name, provenance),
    )


def _side_by_side(texts: SideBySide) -> str:
    sides = (
        f'<div><h3>{escape(label)}</h3><div class="words">{escape(text)}</div></div>'
        for label, text in zip(texts.labels, texts.texts, strict=True)
    )
    return section(texts.title, columns(*sides))


def _origin(name: str, provenance: Mapping[str, Any]) -> list[str]:
    """Everything needed to repeat it: the command, and what it ran on."""
    groups = {key: value for key, value in provenance.items() if isinstance(value, Mapping)}
    single = {key: value for key, value in provenance.items() if key not in groups and key != "command"}
    command = code(provenance["command"]) if "command" in provenance else ""
    return [
        section("Where it came from", command, pairs({"every number": f"{name}.json"} | single)),
        columns(*(section(key.capitalize(), pairs(value)) for key, value in groups.items())),
    ]


def _finite(content: Any) -> Any:
    if isinstance(content, Estimate):
        return _finite(vars(content))
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
