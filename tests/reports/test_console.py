import io
import re
import time
from collections.abc import Sequence

import pytest
from rich.console import Console

from toolkit.formatting import number
from toolkit.reports.console import RunConsole
from toolkit.reports.findings import Findings, Headline, Table, shares_table
from toolkit.statistics.estimates import Estimate
from toolkit.tracking import is_watched, track

EFFECT = Estimate(-3.21, -3.6, -2.9)
HEADLINE = [
    Headline(name="FVE, base", value=Estimate(0.97312, 0.9718, 0.9744), n=40960, unit="tokens"),
    Headline(name="tokens", value=1024000, note="all that were <kept>"),
]


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(out: io.StringIO) -> RunConsole:
    return RunConsole(Console(file=out, width=80), every_seconds=0.01)


def rows(out: io.StringIO) -> list[str]:
    """What was written, a line each, runs of blanks made one."""
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    return [" ".join(line.split()) for line in lines]


def test_header_shows_every_row_as_it_is(console: RunConsole, out: io.StringIO) -> None:
    console.header("a run", {"models": "base → distilled", "data": "[red]corpus[/red]"})
    text = " ".join(rows(out))
    assert "a run" in text
    assert "models base → distilled" in text
    assert "data [red]corpus[/red]" in text


def test_notes_and_warnings_are_no_markup(console: RunConsole, out: io.StringIO) -> None:
    console.note("kept [bold]")
    console.warn("id 5 [x] differs")
    assert rows(out) == ["kept [bold]", "warning: id 5 [x] differs"]


def wait_for(text: str, out: io.StringIO) -> None:
    """Until another thread has written it."""
    for _ in range(500):
        if text in out.getvalue():
            return
        time.sleep(0.01)
    raise AssertionError(f"{text!r} was not written: {out.getvalue()}")


def test_progress_off_a_terminal_is_plain_lines(console: RunConsole, out: io.StringIO) -> None:
    with console.progress("training", 1000) as tick:
        tick(500, fve=(0.9, 0.8), l0=14.0, dead_share=0.05)
        wait_for("training 50%", out)
        tick(1000)
    lines = rows(out)
    said = next(index for index, line in enumerate(lines) if line.startswith("training 50% 500 of 1.00k tokens"))
    assert lines[said + 1] == "FVE base 0.900, distilled 0.800 L0 14.0 dead 5.0 %"
    assert lines[-1].startswith("training 100%")
    assert "\x1b" not in out.getvalue()


def test_progress_off_a_terminal_keeps_silent_between_times(out: io.StringIO) -> None:
    with RunConsole(Console(file=out, width=80), every_seconds=1000.0).progress("training", 100) as tick:
        for tokens in range(100):
            tick(tokens + 1)
    assert len(rows(out)) == 1


def test_progress_on_a_terminal_ends_with_the_last_state(out: io.StringIO) -> None:
    terminal = RunConsole(Console(file=out, width=80, force_terminal=True, color_system=None))
    with terminal.progress("training", 1000) as tick:
        tick(1000, fve=(0.9, 0.8), l0=14.0, dead_share=0.05)
    assert "1.00k of 1.00k tokens" in out.getvalue()
    assert out.getvalue().count("FVE base 0.900, distilled 0.800") >= 1


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show short work too."""
    monkeypatch.setattr("toolkit.reports.console.SOON", 0.0)


@pytest.mark.usefixtures("at_once")
def test_a_stage_off_a_terminal_tells_how_far_it_is_and_what_it_took(console: RunConsole, out: io.StringIO) -> None:
    with console.stage("ablation"):
        for number in track([1, 2], "counting firings", "batches"):
            if number == 2:
                wait_for("ablation: counting firings 50%", out)
    lines = rows(out)
    assert any(line.startswith("ablation: counting firings 50% 1 of 2 batches") for line in lines)
    passed = re.compile(r"ablation: counting firings 100% 2 of 2 batches .* took \d\.\d s")
    assert [line for line in lines if passed.fullmatch(line)]  # a busy machine says a last time how far the stage is


@pytest.mark.usefixtures("at_once")
def test_a_log_has_a_line_for_each_pass_however_long_its_name(console: RunConsole, out: io.StringIO) -> None:
    with console.stage("1 of 6: evaluating a crosscoder of a long name"):
        list(track([1, 2], "reading text to splice", "batches"))
    (line,) = (each for each in out.getvalue().splitlines() if "reading text to splice" in each)
    assert len(line) > 100
    assert line.endswith(" s")


@pytest.mark.usefixtures("at_once")
def test_a_stage_without_anything_to_count_tells_its_time(console: RunConsole, out: io.StringIO) -> None:
    with console.stage("loading"):
        wait_for("so far", out)
    lines = rows(out)
    assert re.fullmatch(r"loading 0\.\d s so far", lines[0])
    assert re.fullmatch(r"loading took 0\.\d s", lines[-1])


@pytest.mark.usefixtures("at_once")
def test_a_stage_on_a_terminal_has_a_bar_with_count_and_time_left(out: io.StringIO) -> None:
    terminal = RunConsole(Console(file=out, width=80, force_terminal=True, color_system=None))
    with terminal.stage("ablation"):
        for number in track([1, 2], "counting firings", "batches"):
            if number == 2:
                wait_for("1 of 2 batches", out)
    assert "━" in out.getvalue()
    assert " left" in out.getvalue()
    assert re.search(r"2 of 2 batches .* took 0\.\d s", out.getvalue())


def test_a_stage_of_less_than_a_second_says_nothing(console: RunConsole, out: io.StringIO) -> None:
    with console.stage("ablation"):
        list(track(range(3), "counting firings", "batches"))
    assert out.getvalue() == ""


@pytest.mark.usefixtures("at_once")
def test_work_that_is_followed_has_its_time_counted_elsewhere(console: RunConsole, out: io.StringIO) -> None:
    with console.following("starting"):
        list(track([1, 2], "filling the buffer", "tokens"))
    assert "starting: filling the buffer 100% 2 of 2 tokens" in rows(out)[-1]
    assert console.seconds == {}


def test_progress_that_ends_early_tells_the_time_it_took(out: io.StringIO) -> None:
    with RunConsole(Console(file=out, width=80), every_seconds=1000.0).progress("training", 1000) as tick:
        tick(984)
    assert re.fullmatch(r"training 98% 984 of 1.00k tokens .* took 0\.\d s", rows(out)[-1])


def test_nobody_is_told_after_the_stage(console: RunConsole, out: io.StringIO) -> None:
    with console.stage("ablation"):
        assert is_watched()
    assert not is_watched()


def test_stages_add_up_also_when_they_fail(console: RunConsole) -> None:
    for _ in range(2):
        with console.stage("load"):
            time.sleep(0.01)
    with pytest.raises(KeyError), console.stage("train"):
        raise KeyError
    assert 0.02 <= console.seconds["load"] < 1
    assert 0 <= console.seconds["train"] < 1


def test_headline_shows_value_interval_count_and_note(console: RunConsole, out: io.StringIO) -> None:
    console.headline(HEADLINE)
    lines = rows(out)
    assert "FVE, base 0.9731 0.9718 to 0.9744 40,960 tokens" in lines
    assert "tokens 1,024,000" in lines
    assert "tokens: all that were <kept>" in lines


def test_a_table_has_its_title_and_its_note(console: RunConsole, out: io.StringIO) -> None:
    console.table(
        Table(
            title="Behaviours",
            columns=["label", "latent", "AUROC", "n tokens"],
            rows=[["self-<reflection>", "1032", Estimate(0.941, 0.92, 0.96), 1840]],
            note="Control: labels moved by half a document.",
        )
    )
    lines = rows(out)
    assert lines[1] == "Behaviours"
    assert "self-<reflection> 1032 0.941 0.920 to 0.960 1,840" in lines
    assert lines[-1] == "Control: labels moved by half a document."


def test_times_and_other_parts_of_a_whole_show_shares_and_their_sum(console: RunConsole, out: io.StringIO) -> None:
    console.times({"train": 75.0, "evaluate": 25.0})
    console.table(shares_table("Tokens", ("", "tokens"), {"kept": 900, "position 0": 100}, number))
    lines = rows(out)
    assert any(line.startswith("train 1:15 75.0 %") for line in lines)
    assert "total 1:40" in lines
    assert any(line.startswith("position 0 100 10.0 %") for line in lines)
    assert "total 1,000" in lines


def test_findings_show_facts_question_numbers_and_tables(console: RunConsole, out: io.StringIO) -> None:
    table = Table(
        title="Effect [1]",
        columns=["category", "distilled"],
        rows=[["deductive", Estimate(-2.0, -3.0, -1.0)]],
        note="n = 7",
    )
    console.findings(
        Findings(
            name="ablation", title="Ablation", question="What falls?", facts={"models": "a → b"},
            headline=HEADLINE, tables=[table], charts=[], results={},
        )
    )  # fmt: skip
    lines = rows(out)
    for line in ("What falls?", "FVE, base 0.9731 0.9718 to 0.9744 40,960 tokens", "Effect [1]", "n = 7"):
        assert line in lines
    assert "deductive -2.0 -3.0 to -1.0" in lines
    assert any("models a → b" in line for line in lines)


def test_tables_of_detail_are_left_to_the_page(console: RunConsole, out: io.StringIO) -> None:
    tables = [
        Table(title=title, columns=["row"], rows=[[f"row of {title}"]], detail=title != "short")
        for title in ("long", "short", "longer")
    ]
    findings = Findings(
        name="a", title="A", question="What?", facts={}, headline=[], tables=tables, charts=[], results={}
    )
    console.findings(findings)
    lines = rows(out)
    assert "row of short" in lines
    assert lines[-1] == "the page has 2 more tables"
    assert not any("long" in line for line in lines)


def printed(table: Table, width: int = 80) -> list[str]:
    """The table's lines below its title, as they are printed."""
    out = io.StringIO()
    RunConsole(Console(file=out, width=width)).table(table)
    _, title, *lines = out.getvalue().splitlines()
    assert title == table.title
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
    assert lines[-1].split() == "distilled only 58 0.24 0.15 to 0.37 40 0.15 0.07 to 0.29".split()
    text = " ".join(lines)
    assert text.count("survive") == 2
    assert [word for column in columns for word in column.split() if word not in text] == []
