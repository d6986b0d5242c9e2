"""Pieces of HTML that the pages share; every text that comes in is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from matplotlib.figure import Figure

from toolkit.reports.findings import Cell, Headline, Table, written
from toolkit.reports.svg import Drawing, inline_svg
from toolkit.reports.theme import style_sheet
from toolkit.terminal_text import harmless

ONE_LINE = 40  # longer texts are folded
ROOM = 120  # characters across a table; intervals go under their values where that is too little


def document(title: str, subtitle: str, *content: str, style: str = "") -> str:
    """Return a whole page: a title, a line under it, then `content`, which is HTML. It loads nothing.

    style: CSS beyond the common one.
    """
    body = "\n".join(filter(None, content))
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{style_sheet()}{style}</style>
</head>
<body>
<main>
<header><h1>{escape(title)}</h1><p class="pair">{escape(subtitle)}</p></header>
{body}
</main>
</body>
</html>
"""
    return harmless(page)


def section(title: str, *content: str) -> str:
    """Return `content`, which is HTML, under a heading."""
    return f"<section><h2>{escape(title)}</h2>\n{''.join(content)}</section>"


def columns(*sections: str) -> str:
    """Return sections that stand beside each other where there is room."""
    return f'<div class="columns">{"".join(sections)}</div>'


def paragraph(text: str) -> str:
    """Return a paragraph, or nothing for no text."""
    return f"<p>{escape(text)}</p>" if text else ""


def headline_list(rows: Sequence[Headline]) -> str:
    """Return the numbers that a reader takes away, each with its interval, its n and its note."""
    return f'<dl class="headline">\n{"".join(map(_headline, rows))}</dl>' if rows else ""


def _headline(row: Headline) -> str:
    value, ends = written(row.value)
    details = [
        f"95 % CI {ends}" if ends else "",
        f"n = {row.n:,} {row.unit}".strip() if row.n is not None else row.unit,
        row.note,
    ]
    lines = "".join(f"<small>{escape(text)}</small>" for text in details if text)
    return f"<div><dt>{escape(row.name)}</dt><dd><b>{value}</b>{lines}</dd></div>\n"


def figure_gallery(figures: Iterable[tuple[str, Figure | Drawing, str]]) -> str:
    """Return figures by id, each with its caption."""
    drawn = (
        f"<figure>{inline_svg(figure, name, caption)}<figcaption>{escape(caption)}</figcaption></figure>\n"
        for name, figure, caption in figures
    )
    return f'<div class="figures">{"".join(drawn)}</div>'


def table(table: Table) -> str:
    """Return a table under its title, its note below; it scrolls sideways where it is too wide."""
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


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str], kind: str = "") -> str:
    """Return a table whose cells are HTML, with the CSS class of each column and of the whole."""
    mark = [f' class="{column}"' if column else "" for column in kinds]
    opening = f'<table class="{kind}">' if kind else "<table>"
    titles = "".join(f"<th{how}>{escape(title)}</th>" for how, title in zip(mark, head, strict=True))
    lines = "".join(
        f"<tr>{''.join(f'<td{how}>{cell}</td>' for how, cell in zip(mark, row, strict=True))}</tr>\n" for row in rows
    )
    return f'<div class="wide">{opening}<thead><tr>{titles}</tr></thead><tbody>\n{lines}</tbody></table></div>'


def pairs(entries: Mapping[str, object]) -> str:
    """Return names and their values, lists joined by commas."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(_plain(value))}</dd>\n" for name, value in entries.items())
    return f'<dl class="pairs">\n{lines}</dl>'


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def code(text: str) -> str:
    """Return lines of code."""
    return f"<pre><code>{escape(text)}</code></pre>"
