"""Text that others wrote does nothing to a terminal or a page but stand there."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from toolkit.reports.console import RunConsole
from toolkit.reports.findings import Headline
from toolkit.reports.page import render
from toolkit.terminal_text import harmless, harmless_console, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a", "a"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0;payload\x1b\\a", "a"),
        ("\x9b2Ja\x9d0;title\x9cb", "ab"),
        ("\x1b[?1049h\x1bca", "a"),
        ("a\x1b", "a"),
        ("a\x1b[3", "a"),
        ("a\x1b]0;never ended", "a0;never ended"),
        ("over\rwritten\b\x07\x00\x7f", "overwritten"),
        ("abc\u202etxt.exe\u2066", "abctxt.exe"),
        ("one\u2028two", "one two"),
        ("half \ud83d", "half �"),
        ("line\n\tand tab, Wörter, 文字, 👩‍🔬", "line\n\tand tab, Wörter, 文字, 👩‍🔬"),
    ],
)
def test_text_keeps_what_can_be_read_and_nothing_else(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_a_long_text_on_one_line_keeps_its_beginning_and_its_end() -> None:
    line = one_line("first\n" + "x " * 1000 + "\x1b[2J last")
    assert line.startswith("first x")
    assert line.endswith("x last")
    assert len(line) < 310


def test_the_consoles_own_colours_stay() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", highlight=False)
    harmless_console(console).print("[red]a[/]\x1b[2Jb")
    assert out.getvalue() == "\x1b[31ma\x1b[0mb\n"


def test_whatever_a_run_shows_is_harmless() -> None:
    out, evil = io.StringIO(), "e\x1b[2J\x1b]0;t\x1b\\v\u202eil"
    console = RunConsole(Console(file=out, width=80, force_terminal=True, color_system=None))
    console.header(evil, {evil: evil})
    console.note(evil)
    console.warn(evil)
    console.headline([Headline(name=evil, value=1.0, n=None, unit=evil, note=evil)])
    console.times({evil: 1.0})
    with console.progress(evil, 10, streams=(evil,)) as tick:
        tick(5, fve=(0.5,))
    for sign in ("\x1b[2J", "\x1b]", "\u202e"):
        assert sign not in out.getvalue()
    assert out.getvalue().count("evil") >= 9


def test_a_table_of_hostile_cells_keeps_its_columns() -> None:
    out = io.StringIO()
    table = Table("a", "b")
    table.add_row("\x1b[31mx\x1b[0m", "y")
    harmless_console(Console(file=out, width=40)).print(table)
    assert ["x", "y"] in [line.replace("│", " ").split() for line in out.getvalue().splitlines()]


def test_a_page_escapes_markup_and_drops_marks_of_order() -> None:
    title, question = "a \u202etitle", "<script>alert(1)</script>\x1b[31m<img src=x onerror=alert(1)>"
    page = render("base.html", title=title, question=question)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "a title" in page
    assert not {"\x1b", "\u202e"} & set(page)
