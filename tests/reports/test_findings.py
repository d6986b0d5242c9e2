import pytest
from matplotlib.figure import Figure

from toolkit.reports.findings import Chart, Findings, Table, written
from toolkit.statistics import Estimate


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
