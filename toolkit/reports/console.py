"""Prints a run in a terminal: its models and data, its progress, the time of its stages, and its results.

Where the output is not a terminal (a log, a pipe), progress is printed as plain lines, now and then. All lines fit 80
columns.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.measure import Measurement
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid

from toolkit.formatting import counted, duration, percent
from toolkit.reports.findings import Cell, Findings, Headline, Share, Table, shares_table, written
from toolkit.reports.progress import Progress, StageProgress
from toolkit.terminal_text import Harmless, harmless_console
from toolkit.tracking import Stopwatch, watched_by

SOON = 1.0
"""Seconds of a stage before anything is shown: shorter stages are not reported."""


NAME_WIDTH = 24  # a row's name, or prose, is folded from here on if it must be


class RunConsole:
    """Prints what a run does, and times its stages.

    console: where to write; a new one on stdout by default.
    every_seconds: time between progress lines where the output is no terminal.
    quiet: whether to print nothing, because another process prints.
    """

    def __init__(self, console: Console | None = None, every_seconds: float = 20.0, *, quiet: bool = False) -> None:
        self.console = harmless_console(console or Console(highlight=False, quiet=quiet))
        self.every_seconds = every_seconds
        self._stopwatch = Stopwatch()

    def header(self, title: str, rows: Mapping[str, str]) -> None:
        """Show the models, data, device and sizes of the run."""
        grid = Grid.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in rows.items():
            grid.add_row(escape(name), escape(value))
        self.console.print(Panel(grid, title=f"[bold]{escape(title)}", title_align="left", border_style="dim"))

    def note(self, text: str) -> None:
        """Print one line."""
        self.console.print(escape(text), highlight=False)

    def warn(self, text: str) -> None:
        """Print one line that needs attention."""
        self.console.print(f"[yellow]warning:[/] {escape(text)}", highlight=False)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time by stage."""
        return dict(self._stopwatch.seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Follow the block, and add its wall time to `seconds[name]`, also when it raises."""
        with self._stopwatch.stage(name), self.following(name):
            yield

    @contextmanager
    def following(self, name: str) -> Iterator[None]:
        """Show the block's progress: what `track` counts in it, with rate and time left, or else the time taken.

        Nothing is shown for less than a second.
        """
        told: list[Progress] = []

        def tell(progress: Progress) -> None:
            if progress.seconds >= SOON:
                told.append(progress)
                self._tell(progress)

        stage = StageProgress(name, finished=tell, say=self.note)
        with watched_by(stage), self._showing(stage, stage.lines, after=SOON):
            yield
        if stage.seconds >= SOON and not told:
            self.note(f"{name}  took {duration(stage.seconds)}")

    @contextmanager
    def progress(
        self,
        label: str,
        total: int,
        streams: Sequence[str] = ("base", "distilled"),
        start: int = 0,
        unit: str = "tokens",
    ) -> Iterator[Progress]:
        """Show the progress of a stage over so many tokens, or other units; call the yielded object after every step.

        streams: the names of the FVE values. start: where a resumed run continues.
        """
        progress = Progress(label, total, streams, start, unit)
        with self._showing(progress, progress.lines, after=0.0):
            yield progress
        progress.over = True
        self._tell(progress)

    def _tell(self, progress: Progress) -> None:
        """Print the last state of a pass, so that it stays on the screen."""
        if self.console.is_terminal:
            self.console.print(progress)
        else:
            self._log(progress.lines())

    def _log(self, lines: str) -> None:
        """Print progress as one line of any length: a log is searched by line, and its reader wraps lines."""
        self.console.print(escape(lines), highlight=False, soft_wrap=True)

    @contextmanager
    def _showing(self, state: RenderableType, lines: Callable[[], str], *, after: float) -> Iterator[None]:
        """Show a state that changes during the block: on a terminal in place, elsewhere as lines now and then."""
        over = threading.Event()

        def show() -> None:
            if over.wait(after):
                return
            if self.console.is_terminal:
                with Live(Harmless(state), console=self.console, refresh_per_second=4, transient=True):
                    over.wait()
            while not over.wait(self.every_seconds):
                self._log(lines())

        thread = threading.Thread(target=show, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def headline(self, rows: Sequence[Headline]) -> None:
        """Show the run's main numbers, each with its interval and what it was counted from."""
        grid = _grid()
        grid.add_column("[not dim bold]result")
        for name in ("value", "95 % CI", "n"):
            grid.add_column(name, justify="right", no_wrap=True)
        for row in rows:
            n = f"{row.n:,} {row.unit}" if row.n is not None else row.unit
            value, ends = written(row.value)
            grid.add_row(escape(row.name), f"[bold]{value}", ends, escape(n))
        self.console.print()
        self.console.print(grid)
        for row in rows:
            if row.note:
                self.console.print(f"[dim]{escape(row.name)}: {escape(row.note)}", highlight=False)

    def table(self, table: Table) -> None:
        """Show a table, its title over it, its note under it."""
        self.console.print(f"\n[bold]{escape(table.title)}")
        for part in _fitting(table, self.console):
            self.console.print(part)
        if table.note:
            self.console.print(f"[dim]{escape(table.note)}", highlight=False)

    def findings(self, findings: Findings) -> None:
        """Show what an experiment ran on, its main numbers and its tables, without the detailed ones."""
        self.header(findings.title, findings.facts)
        self.note(findings.question)
        if findings.headline:
            self.headline(findings.headline)
        shown = [table for table in findings.tables if not table.detail]
        for table in shown:
            self.table(table)
        if more := len(findings.tables) - len(shown):
            self.console.print(f"\n[dim]the page has {counted(more, 'more table')}")

    def times(self, seconds: Mapping[str, float]) -> None:
        """Show where the time went."""
        self.table(times_table(seconds))


def times_table(seconds: Mapping[str, float]) -> Table:
    """Return a table of the time of each stage."""
    return shares_table("Where the time went", ("stage", "time"), seconds, duration)


def _grid() -> Grid:
    """Return an empty table without a frame."""
    return Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")


def _fitting(table: Table, console: Console) -> Iterator[Grid]:
    """Yield `table` so that it fits the console: whole; with intervals under values; or some columns at a time."""
    anything = console.options.update(max_width=100_000)
    for stacked in (False, True):
        needed = Measurement.get(console, anything, _drawn(table, stacked))
        if needed.minimum <= console.width or len(table.columns) < 3:
            yield _drawn(table, stacked, tight=needed.maximum > console.width)
            return
    middle = (len(table.columns) + 1) // 2
    for kept in (range(1, middle), range(middle, len(table.columns))):
        yield from _fitting(_some_columns(table, [0, *kept]), console)


def _some_columns(table: Table, kept: Sequence[int]) -> Table:
    rows = [[row[column] for column in kept] for row in table.rows]
    return Table(title=table.title, columns=[table.columns[column] for column in kept], rows=rows)


def _drawn(table: Table, stacked: bool, tight: bool = False) -> Grid:
    """A table for rich, which takes from all columns alike where room is short: `tight` keeps numbers from that."""
    grid = _grid()
    rows = [[_lines(cell, stacked) for cell in row] for row in table.rows]
    for index, name in enumerate(table.columns):
        width = max((len(line) for row in rows for line in row[index]), default=1)
        if index == 0 or table.is_text(index):
            grid.add_column(escape(name), min_width=min(width, NAME_WIDTH), overflow="fold")
        else:
            heading = "\n".join(wrap(name, width, break_long_words=False)) if tight else name
            grid.add_column(escape(heading), min_width=width, justify="right", no_wrap=tight)
    shares = [_share(row) for row in table.rows]
    if any(shares):
        grid.add_column("share", justify="right", no_wrap=True)
        grid.add_column("")
    for row, share in zip(rows, shares, strict=True):
        grid.add_row(*(escape("\n".join(lines)) for lines in row), *share)
    return grid


def _lines(cell: Cell, stacked: bool) -> list[str]:
    if isinstance(cell, Share):
        return [cell.part]
    value, details = written(cell)
    if stacked and details:
        return [value, details]
    return [f"{value}  {details}" if details else value]


def _share(row: Sequence[Cell]) -> list[RenderableType]:
    """The row's share of a whole, written and drawn, where it has one."""
    for cell in row:
        if isinstance(cell, Share) and cell.share is not None:
            bar = ProgressBar(total=1, completed=cell.share, width=24, style="black", complete_style="blue")
            return [percent(cell.share), bar]
    return []
