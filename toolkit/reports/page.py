"""Renders findings as HTML that loads nothing, for a page and for a notebook; the templates are in this folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from toolkit.formatting import counted
from toolkit.reports.drawing import PALETTE, inline_svg
from toolkit.reports.findings import Cell, Chart, Findings, Share, Table, written
from toolkit.terminal_text import harmless

ONE_LINE = 40  # longer texts are folded
ROOM = 120  # characters across a table; intervals go under their values where that is too little
NOTEBOOK_CHARACTERS = 110_000  # of figures in a notebook, which holds all that it shows


def render(template: str, **content: Any) -> str:
    """Return the HTML of a template of that name; all text in `content` is escaped and harmless."""
    return harmless(_environment().get_template(template).render(content))


def render_page(findings: Findings, numbers: str) -> str:
    """Return a whole page; `numbers` names the file that holds every number."""
    origin = {key: value for key, value in findings.provenance.items() if not isinstance(value, Mapping)}
    return render(
        "findings.html",
        title=findings.title,
        question=findings.question,
        findings=findings,
        command=origin.pop("command", ""),
        origin={"every number": numbers} | origin,
    )


def render_notebook(findings: Findings) -> str:
    """Return a part of a page, which styles nothing but itself; figures that would make it large are left out."""
    prefix = f"notebook-{findings.name}"
    sizes = accumulate(len(_svg(chart, prefix)) for chart in findings.charts)
    charts = [chart for chart, size in zip(findings.charts, sizes, strict=True) if size <= NOTEBOOK_CHARACTERS]
    n_tables = sum(table.detail for table in findings.tables)
    more = [
        counted(n, thing) for n, thing in ((n_tables, "table"), (len(findings.charts) - len(charts), "figure")) if n
    ]
    left_out = f"The page that save(folder) writes has {' and '.join(more)} more." if more else ""
    return render("notebook.html", findings=findings, charts=charts, prefix=prefix, left_out=left_out)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"written": written, "layout": _layout, "bar": _bar, "svg": _svg}
    environment.globals["palette"] = PALETTE
    return environment


def _svg(chart: Chart, prefix: str) -> str:
    return inline_svg(chart.figure, f"{prefix}-{chart.slug}", chart.caption)


def _bar(cell: Cell) -> str | None:
    """The style of a cell that shows a share."""
    return f"--share: {cell.share:.2%}" if isinstance(cell, Share) and cell.share is not None else None


@dataclass(frozen=True)
class _Layout:
    kinds: list[str | None]
    """The CSS class of each column."""
    stacked: bool
    """Whether intervals go under their values."""
    broad: bool
    """Whether it needs more than half of the page."""


def _layout(table: Table) -> _Layout:
    widths = [_width(table, column) for column in range(len(table.columns))]
    kinds = [_kind(table, column, width) for column, width in enumerate(widths)]
    return _Layout(kinds, stacked=sum(widths) > ROOM, broad=2 * sum(widths) > ROOM)


def _width(table: Table, column: int) -> int:
    """Characters that a column takes on one line, a space between value and interval, and one before."""
    cells = (" ".join(written(row[column])) for row in table.rows)
    return 1 + min(ONE_LINE, max(map(len, (table.columns[column], *cells))))


def _kind(table: Table, column: int, width: int) -> str | None:
    if any(isinstance(row[column], Share) for row in table.rows):
        return "share"
    if column > 0 and not table.is_text(column):
        return None
    return "prose" if width > ONE_LINE else "name"
