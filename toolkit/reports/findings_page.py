"""An experiment's findings as files: one page to read, its figures as PNG, every number as JSON."""

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from toolkit.artifacts import RunFolder
from toolkit.reports.console import RunConsole
from toolkit.reports.drawing import save_pngs
from toolkit.reports.findings import Cell, Findings, SideBySide, Table, written
from toolkit.reports.markup import (
    code,
    columns,
    document,
    figure_gallery,
    headline_list,
    html_table,
    pairs,
    paragraph,
    section,
)

ONE_LINE = 40  # longer texts are folded
ROOM = 120  # characters across a table; intervals go under their values where that is too little


def publish(folder: Path, console: RunConsole, findings: Findings, provenance: Mapping[str, Any]) -> None:
    """Write the page, its figures and the JSON into `folder`, and show all of it in the terminal."""
    page = write_findings(folder, findings, provenance)
    console.findings(findings)
    console.note(f"page: {page}")


def write_findings(folder: Path, findings: Findings, provenance: Mapping[str, Any]) -> Path:
    """Write `<name>.json`, `figures/<name>_<chart>.png` and `<name>.html` into `folder`; return the page's path.

    The JSON file holds the question, the results and the provenance; a number that is not finite becomes null.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {"question": findings.question, "results": findings.results, "provenance": provenance}
    write_results(folder / f"{findings.name}.json", content)
    save_pngs(folder / "figures", {f"{findings.name}_{chart.name}": chart.figure for chart in findings.charts})
    page = folder / f"{findings.name}.html"
    page.write_text(render_findings(findings, provenance), encoding="utf-8")
    return page


def write_results(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON in one move; a number that is not finite becomes null."""
    RunFolder(path=path.parent).write_json(path.name, _finite(content))


def render_findings(findings: Findings, provenance: Mapping[str, Any]) -> str:
    """Return the page's HTML; all text of the findings is escaped."""
    charts = [(f"{findings.name}-{chart.name}", chart.figure, escape(chart.caption)) for chart in findings.charts]
    return document(
        findings.title,
        findings.question,
        headline_list(findings.headline),
        *map(_table, findings.tables),
        section("Figures", figure_gallery(charts)) if charts else "",
        *map(_side_by_side, findings.texts),
        section("What was measured", pairs(findings.facts)),
        *_origin(findings.name, provenance),
    )


def _table(table: Table) -> str:
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    widths = [_width(table, column) for column in range(len(table.columns))]
    kinds = [_kind(table, column, width) for column, width in enumerate(widths)]
    stacked = "stacked" if sum(widths) > ROOM else ""
    return section(table.title, html_table(table.columns, rows, kinds, stacked), paragraph(table.note))


def _width(table: Table, column: int) -> int:
    """Characters that a column takes on one line, a space between value and interval, and one before."""
    cells = (" ".join(written(row[column])) for row in table.rows)
    return 1 + min(ONE_LINE, max(map(len, (table.columns[column], *cells))))


def _kind(table: Table, column: int, width: int) -> str:
    if column > 0 and not table.is_text(column):
        return ""
    return "prose" if width > ONE_LINE else "name"


def _cell(cell: Cell) -> str:
    value, ends = written(cell)
    return escape(value) + (f" <small>{ends}</small>" if ends else "")


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
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
