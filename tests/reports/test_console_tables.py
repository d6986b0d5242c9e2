import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from toolkit.reports.console_tables import findings_tables
from toolkit.reports.findings import Table
from toolkit.statistics import Estimate

EFFECT = Estimate(-3.21, -3.6, -2.9)


def printed(table: Table, width: int = 80) -> list[str]:
    """The table's lines, as they are printed; parts are divided by an empty line."""
    out = io.StringIO()
    console = Console(file=out, width=width)
    for part in findings_tables(table, console):
        console.print(part)
        console.print()
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return [line.rstrip() for line in lines]


def effects(columns: Sequence[str]) -> Table:
    return Table(title="effect", columns=["category", *columns], rows=[["deductive", *[EFFECT] * len(columns)]])


def test_a_table_that_fits_is_printed_whole() -> None:
    lines = printed(effects(["base", "distilled"]))
    assert lines[0].split() == ["category", "base", "distilled"]
    assert lines[2].split("   ") == ["deductive", "-3.21  -3.60 to -2.90", "-3.21  -3.60 to -2.90"]


def test_intervals_go_under_their_values_where_the_table_is_too_wide() -> None:
    lines = printed(effects(["base", "distilled", "control"]))
    assert lines[2].split() == ["deductive", "-3.21", "-3.21", "-3.21"]
    assert lines[3].split("   ")[-3:] == ["-3.60 to -2.90"] * 3


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_still_wider_table_comes_in_parts_and_loses_nothing(width: int) -> None:
    names = [f"arm{number}" for number in range(9)]
    text = "\n".join(printed(effects(names), width))
    assert [text.count(name) for name in names] == [1] * 9
    assert text.count("-3.60 to -2.90") == 9
    assert text.count("category") == text.count("deductive") > 1


def test_prose_is_folded_and_markup_is_text() -> None:
    example = "so First is 32, [bold]good[/bold]. " * 5
    lines = printed(Table(title="t", columns=["latent", "lift", "example"], rows=[["7", 55.1, example]]), width=60)
    assert lines[2].split()[:2] == ["7", "55.1"]
    assert " ".join(" ".join(lines[2:]).split()) == f"7 55.1 {example.strip()}"


def test_headings_are_folded_before_a_number_is_cut() -> None:
    columns = ["tag", "by NRN", "survive", "by norm difference", "survive"]
    rows = [
        [tag, 58, Estimate(0.24, 0.15, 0.37), 40, Estimate(0.15, 0.07, 0.29)] for tag in ("shared", "distilled only")
    ]
    lines = printed(Table(title="tags", columns=columns, rows=rows))
    assert lines[-2].split() == "distilled only 58 0.24 0.15 to 0.37 40 0.15 0.07 to 0.29".split()
    text = " ".join(lines)
    assert text.count("survive") == 2
    assert [word for column in columns for word in column.split() if word not in text] == []
