"""What an experiment found, as plain data: all that console and page know of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from toolkit.reports.formatting import estimate, number
from toolkit.reports.svg import Drawing
from toolkit.statistics import Estimate

Cell = str | int | float | Estimate | None
"""A count (int), a measure (float, three digits), an estimate with its interval, text, or nothing."""


def written(cell: Cell) -> tuple[str, str]:
    """Return a cell as a reader sees it: the value, then its interval, which may be empty."""
    if isinstance(cell, Estimate):
        return estimate(cell.value, cell.low, cell.high)
    if cell is None:
        return "–", ""
    return (cell if isinstance(cell, str) else number(cell)), ""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One number that a reader takes away, with what makes it checkable."""

    name: str
    value: int | float | Estimate
    """An `int` is shown as a count, a `float` with three digits, an `Estimate` with those its interval bears."""
    n: int | None = None
    """How many things the value was computed from."""
    unit: str = ""
    """What `n` counts: "tokens", "alive latents"."""
    note: str = ""
    """The control or the definition, in a few words."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under named columns; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    """What the numbers were counted from, and against which control."""
    detail: bool = False
    """Shown on the page alone: too long for a terminal."""

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row) == len(self.columns), f"{self.title}: {len(row)} cells under {len(self.columns)} columns"

    def is_text(self, column: int) -> bool:
        """Whether nothing in a column is a number, so that it is set at the left."""
        return all(isinstance(row[column], str | None) for row in self.rows)


def left_out_tables(what: str, left_out: Mapping[str, str] | Mapping[int, str]) -> list[Table]:
    """A table of what could not be measured, with the reasons; none where all could."""
    rows = [[str(name), why] for name, why in left_out.items()]
    return [Table(title="Left out", columns=(what, "why"), rows=rows)] if rows else []


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure with its caption."""

    name: str
    figure: Figure | Drawing
    caption: str

    @property
    def slug(self) -> str:
        """The name as part of a file's name or of an id: of letters, digits, - and _ alone."""
        return re.sub(r"[^\w-]+", "-", self.name)


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Two texts to be read beside each other."""

    title: str
    labels: tuple[str, str]
    texts: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """One experiment's question and what was found.

    Raises ValueError for charts whose names give the same file name: a name may hold a category's, which users choose.
    """

    name: str
    """Stem of the files it is written to."""
    title: str
    question: str
    facts: Mapping[str, str]
    """What was measured on what: models, site, crosscoder, text, seed."""
    headline: Sequence[Headline]
    tables: Sequence[Table]
    charts: Sequence[Chart]
    texts: Sequence[SideBySide] = ()
    results: Mapping[str, Any]
    """Every number, as JSON would hold it; an `Estimate` anywhere becomes {"value", "low", "high"}."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where it came from: command, versions, seed, text, sha256 of the files that were read."""

    def __post_init__(self) -> None:
        if len({chart.slug for chart in self.charts}) < len(self.charts):
            names = [chart.name for chart in self.charts]
            raise ValueError(f"{self.name}: two charts of one file name among {names}: rename a category")
