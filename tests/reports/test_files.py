import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from toolkit.artifacts import DiskFullError
from toolkit.reports.console import RunConsole
from toolkit.reports.files import publish, read_findings, stored
from toolkit.reports.findings import Chart, Findings, Headline, SideBySide, Table
from toolkit.reports.page import render_page
from toolkit.statistics.estimates import Estimate


def test_page_numbers_and_figures_are_written(findings: Findings, tmp_path: Path) -> None:
    page = findings.save(tmp_path / "new")
    assert page == tmp_path / "new" / "ablation.html"
    assert (tmp_path / "new" / "figures" / "ablation_matrix.png").read_bytes()[:4] == b"\x89PNG"
    assert "ablation.json" in page.read_text(encoding="utf-8")


def test_findings_are_saved_again_in_the_same_folder_but_not_over_files_of_others(
    findings: Findings, tmp_path: Path
) -> None:
    assert findings.save(str(tmp_path)) == findings.save(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json \(not written by it\)"):
        replace(findings, name="other").save(tmp_path)


def test_a_full_disk_is_said_in_a_line_and_the_next_call_writes_all(
    findings: Findings, tmp_path: Path, small_disk: Callable
) -> None:
    with (
        small_disk(),
        pytest.raises(
            DiskFullError, match=r"no room left to write to .*new \([^()]*\); what was written before is whole"
        ),
    ):
        findings.save(tmp_path / "new")
    assert findings.save(tmp_path / "new").exists()


def test_published_findings_are_written_and_shown(
    findings: Findings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(tmp_path, RunConsole(Console(width=200)), findings)
    assert json.loads((tmp_path / "ablation.json").read_text())["provenance"] == findings.provenance
    said = capsys.readouterr().out
    assert f"page: {tmp_path / 'ablation.html'}" in said
    assert "Effects" in said


def test_results_are_strict_json_beside_question_and_provenance(findings: Findings, tmp_path: Path) -> None:
    findings.save(tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads((tmp_path / "ablation.json").read_text(), parse_constant=refuse)
    assert content == {
        "question": "What falls when latents go?",
        "results": {
            "fall": {"value": -3.2, "ends": [-3.6, None]},
            "unknown": None,
            "n": 100,
            "estimates": [
                {"value": 0.5, "low": None, "high": None},
                {"open": {"value": None, "low": -1.0, "high": None}},
            ],
        },
        "provenance": findings.provenance,
    }


@pytest.fixture
def exact() -> Findings:
    """Findings whose numbers are hard to keep."""
    figure = Figure(figsize=(4, 2))
    figure.subplots().plot([1, 2], [3.0, 1.0])
    return Findings(
        name="ablation",
        title="Ablation",
        question="How far?",
        facts={"models": "a → b"},
        headline=[Headline(name="fall", value=Estimate(1 / 3, -0.1, math.nan), n=7, unit="words", note="no control")],
        tables=[
            Table(
                title="T",
                columns=("row", "count", "measure", "estimate", "nothing"),
                rows=[["a", 3, 3.0, Estimate(0.1 + 0.2), None]],
                note="n",
                detail=True,
            )
        ],
        charts=[Chart(name="falls by share", figure=figure, caption="<how far>")],
        texts=[SideBySide(title="Answers", labels=("before", "after"), texts=("yes", "no"))],
        results={"fall": Estimate(1e-17, 2.0, None), "by": {"0.1": [1, 2.5, True, None, math.inf]}, "none": {}},
    )


def test_what_is_stored_is_found_again_to_the_last_bit(exact: Findings) -> None:
    content = json.loads(json.dumps(stored(exact), allow_nan=False))
    again = read_findings(content)
    assert json.dumps(stored(again)) == json.dumps(content)
    assert again.results == exact.results
    assert [type(cell) for cell in again.tables[0].rows[0]] == [str, int, float, Estimate, type(None)]
    assert again.tables[0].rows[0][3] == Estimate(0.1 + 0.2)
    assert math.isnan(again.headline[0].value.high)


def test_the_page_of_stored_findings_is_the_same(exact: Findings) -> None:
    again = read_findings(json.loads(json.dumps(stored(exact))))
    assert render_page(again, "x.json") == render_page(exact, "x.json")


@pytest.mark.parametrize(
    "content",
    [None, [], {"results": {}}, {"kind": "Other"}, {"kind": "Findings", "name": "x"}, {"kind": "Estimate", "value": 1}],
)
def test_other_content_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="no stored findings"):
        read_findings(content)


def test_a_key_by_which_stored_findings_are_known_is_not_stored() -> None:
    with pytest.raises(AssertionError, match="'kind' is a key among"):
        stored({"kind": "three"})
