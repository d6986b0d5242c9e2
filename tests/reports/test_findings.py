from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from toolkit.reports.findings import Chart, Findings, Share, Table, shares_table, written
from toolkit.statistics.estimates import Estimate


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (1024, ("1,024", "")),
        (0.5, ("0.500", "")),
        (float("nan"), ("–", "")),
        (None, ("–", "")),
        ("Wait", ("Wait", "")),
        (Estimate(-3.214, -3.6, -2.9), ("-3.21", "-3.60 to -2.90")),
        (Estimate(0.25), ("0.250", "")),
        (Share("1:15", 0.75), ("1:15", "75.0 %")),
        (Share("1:40"), ("1:40", "")),
    ],
)
def test_a_cell_is_written_by_its_type(cell, shown: tuple[str, str]) -> None:
    assert written(cell) == shown


def test_a_column_without_numbers_is_text() -> None:
    table = Table(title="t", columns=["a", "b", "c"], rows=[["x", 1, None], ["y", None, "z"]])
    assert [table.is_text(column) for column in range(3)] == [True, False, True]


def test_a_row_of_another_length_is_no_table() -> None:
    with pytest.raises(AssertionError, match="effects: 1 cells under 2 columns"):
        Table(title="effects", columns=["a", "b"], rows=[["x"]])


def test_two_charts_of_one_file_name_are_refused() -> None:
    charts = [Chart(name=name, figure=Figure(), caption="") for name in ("a/b", "a b", "c")]
    assert [chart.slug for chart in charts] == ["a-b", "a-b", "c"]
    known = {"title": "", "question": "", "facts": {}, "headline": [], "tables": [], "results": {}}
    Findings(name="both", **known, charts=charts[1:])
    with pytest.raises(ValueError, match=r"both: two charts of one file name among \['a/b', 'a b', 'c'\]"):
        Findings(name="both", **known, charts=charts)


def test_results_under_other_keys_than_text_are_refused(findings: Findings) -> None:
    for results in ({"n": {2: "two"}}, {"by share": [1, {"a": 1, 0.02: 1}]}):
        with pytest.raises(ValueError, match=r"ablation: results have keys that are no text \((2|0\.02)\): write each"):
            replace(findings, results=results)


def test_findings_say_in_two_lines_what_they_are(findings: Findings) -> None:
    assert repr(findings) == "Findings: Ablation\nfall -3.20 (-3.60 to -2.90). 3 tables, 1 figure, 1 text"
    bare = replace(findings, headline=[], tables=[], charts=[], texts=[])
    assert repr(bare) == "Findings: Ablation\n"


def test_parts_of_a_whole_have_their_shares_and_their_sum() -> None:
    table = shares_table("time", ("stage", "time"), {"train": 75.0, "evaluate": 25.0}, lambda seconds: f"{seconds:g} s")
    assert table.rows == [
        ("train", Share("75 s", 0.75)),
        ("evaluate", Share("25 s", 0.25)),
        ("total", Share("100 s")),
    ]
    assert shares_table("", ("", ""), {"nothing": 0}, str).rows[0] == ("nothing", Share("0", 0.0))


def test_a_value_without_interval_says_why():
    assert written(Estimate(1.5, note="7 documents: an interval needs 8")) == (
        "1.50",
        "7 documents: an interval needs 8",
    )
    assert written(Estimate(1.5, 1.0, 2.0, note="given this crosscoder")) == ("1.50", "1.00 to 2.00")
