"""The findings of an experiment as plain data, which a terminal, a page, a notebook and a file all show."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from toolkit.formatting import counted, estimate, number, percent
from toolkit.reports.drawing import Drawing
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.verdicts import Claim


@dataclass(frozen=True)
class Share:
    """A part of a whole, or the whole."""

    part: str
    """The amount as text: "1:15"."""
    share: float | None = None
    """The share, from 0 to 1; None for the whole."""


Cell = str | int | float | Estimate | Share | None
"""A count (int), a measure (float, three digits), a value with its interval, a part of a whole, text, or nothing."""


def written(cell: Cell) -> tuple[str, str]:
    """Return a cell as a reader sees it: the value, then its interval, why it has none, or its share; or nothing."""
    if isinstance(cell, Estimate):
        value, ends = estimate(cell.value, cell.low, cell.high)
        return value, ends or cell.note
    if isinstance(cell, Share):
        return cell.part, "" if cell.share is None else percent(cell.share)
    if cell is None:
        return "–", ""
    return (cell if isinstance(cell, str) else number(cell)), ""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One of the main numbers of an experiment, with what a reader needs to check it."""

    name: str
    value: int | float | Estimate
    """An `int` is shown as a count, a `float` with three digits, an `Estimate` as precisely as its interval allows."""
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
    """Shown on the page alone, below the figures: too long for a terminal."""

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


def shares_table(
    title: str,
    columns: tuple[str, str],
    parts: Mapping[str, int] | Mapping[str, float],
    write: Callable[..., str],
) -> Table:
    """Parts of a whole, each with its share, and their sum; `write` says how much a part is."""
    total = sum(parts.values())
    cells = {name: Share(write(part), part / total if total else 0.0) for name, part in parts.items()}
    rows = [*cells.items(), ("total", Share(write(total)))]
    return Table(title=title, columns=columns, rows=rows, detail=True)


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
    """Texts to be read beside each other."""

    title: str
    labels: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Findings:
    """One experiment's question and what was found.

    A notebook shows them, and `save` writes them. Raises `ValueError` for charts whose names give the same file name
    (names may contain a category's, which users choose), and for keys in results that JSON would change.
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
    code: str = ""
    """Lines of Python that open what the experiment made."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What else the experiment made, by file name: `save` writes it beside the page."""
    claims: Sequence[Claim] = ()
    """What is claimed, as its verdicts judge it: claims of several experiments can be judged together."""
    results: Mapping[str, Any]
    """Every number, as JSON would hold it, under keys of text; an `Estimate` anywhere becomes {"value", "low", "high"}.
    """
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Origin of the findings: command, versions, seed, text, sha256 of the files that were read."""

    def __post_init__(self) -> None:
        if len({chart.slug for chart in self.charts}) < len(self.charts):
            names = [chart.name for chart in self.charts]
            raise ValueError(f"{self.name}: two charts of one file name among {names}: rename a category")
        if others := _keys_of_no_text(self.results):
            raise ValueError(f"{self.name}: results have keys that are no text ({others[0]!r}): write each as text")

    def __repr__(self) -> str:
        values = [(row.name, *written(row.value)) for row in self.headline[:3]]
        first = "; ".join(f"{name} {value} ({ends})" if ends else f"{name} {value}" for name, value, ends in values)
        parts = {"table": self.tables, "figure": self.charts, "text": self.texts}
        has = ", ".join(counted(len(given), part) for part, given in parts.items() if given)
        return f"Findings: {self.title}\n{'. '.join(filter(None, (first, has)))}"

    def _repr_html_(self) -> str:
        from toolkit.reports.page import render_notebook  # which knows findings

        return render_notebook(self)

    def save(self, folder: Path | str) -> Path:
        """Write `<name>.html`, `<name>.json`, `figures/<name>_<chart>.png` and `files` into `folder`.

        Returns the page's path.

        Raises `ValueError` where files of these names were not written by earlier findings, or were changed since.
        """
        from toolkit.reports.files import save_findings  # which knows findings

        return save_findings(self, Path(folder))


def _keys_of_no_text(content: Any) -> list[Any]:
    """Keys in results, or in what they hold, that are not text."""
    if isinstance(content, Mapping):
        own = [key for key in content if not isinstance(key, str)]
        return own + [key for value in content.values() for key in _keys_of_no_text(value)]
    if isinstance(content, list | tuple):
        return [key for value in content for key in _keys_of_no_text(value)]
    return []
