"""Tables for a terminal: as wide as they need, and where that is too wide, narrower or in parts."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table as RichTable

from toolkit.reports.findings import Cell, Table, written

NAME_WIDTH = 24  # a row's name, or prose, is folded from here on if it must be


def findings_tables(table: Table, console: Console) -> Iterator[RichTable]:
    """Yield `table` so that it fits the console: whole; with intervals under values; or some columns at a time."""
    anything = console.options.update(max_width=100_000)
    for stacked in (False, True):
        needed = Measurement.get(console, anything, _draw(table, stacked))
        if needed.minimum <= console.width or len(table.columns) < 3:
            yield _draw(table, stacked, tight=needed.maximum > console.width)
            return
    middle = (len(table.columns) + 1) // 2
    for kept in (range(1, middle), range(middle, len(table.columns))):
        yield from findings_tables(_columns(table, [0, *kept]), console)


def _columns(table: Table, kept: Sequence[int]) -> Table:
    rows = [[row[column] for column in kept] for row in table.rows]
    return Table(title=table.title, columns=[table.columns[column] for column in kept], rows=rows)


def _draw(table: Table, stacked: bool, tight: bool = False) -> RichTable:
    """A table for rich, which takes from all columns alike where room is short: `tight` keeps numbers from that."""
    drawn = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    rows = [[_lines(cell, stacked) for cell in row] for row in table.rows]
    for index, name in enumerate(table.columns):
        width = max((len(line) for row in rows for line in row[index]), default=1)
        if index == 0 or table.is_text(index):
            drawn.add_column(escape(name), min_width=min(width, NAME_WIDTH), overflow="fold")
        else:
            heading = "\n".join(wrap(name, width, break_long_words=False)) if tight else name
            drawn.add_column(escape(heading), min_width=width, justify="right", no_wrap=tight)
    for row in rows:
        drawn.add_row(*(escape("\n".join(lines)) for lines in row))
    return drawn


def _lines(cell: Cell, stacked: bool) -> list[str]:
    value, ends = written(cell)
    if stacked and ends:
        return [value, ends]
    return [f"{value}  {ends}" if ends else value]
