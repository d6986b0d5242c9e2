import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from toolkit.artifacts import DiskFullError
from toolkit.reports.console import RunConsole
from toolkit.reports.files import publish, write_findings
from toolkit.reports.findings import Chart, Findings, Headline, SideBySide, Table
from toolkit.reports.findings_figures import effect_matrix
from toolkit.statistics import Estimate

PROVENANCE = {"command": "python recipes/ablate.py", "commit": None, "seed": 3, "versions": {"torch": "2.13.0"}}


@pytest.fixture
def findings() -> Findings:
    return Findings(
        name="ablation",
        title="Ablation",
        question="What falls when latents go?",
        facts={"models": "base → distilled"},
        headline=[
            Headline(name="fall", value=Estimate(-3.2, -3.6, -2.9), n=100, unit="positions", note="control -0.1")
        ],
        tables=[
            Table(
                title="Effects",
                columns=["category", "distilled", "n"],
                rows=[["deductive", Estimate(-2.0, -2.5, -1.5), 1100]],
                note="95 % intervals",
            ),
            Table(title="Every step", columns=["step"], rows=[["a long list"]], detail=True),
        ],
        charts=[Chart(name="matrix", figure=effect_matrix(np.eye(2), ["a", "b"], ["a", "b"], "m"), caption="the cap")],
        texts=[SideBySide(title="Texts", labels=("before", "after"), texts=("Wait, no", "So it is"))],
        results={
            "fall": {"value": -3.2, "ends": (-3.6, math.inf)},
            "unknown": math.nan,
            "n": 100,
            "estimates": [Estimate(0.5), {"open": Estimate(math.nan, -1.0, math.inf)}],
        },
    )


def test_a_full_disk_is_said_in_a_line_and_the_next_call_writes_all(
    findings: Findings, tmp_path: Path, small_disk: Callable
) -> None:
    with (
        small_disk(),
        pytest.raises(
            DiskFullError, match=r"no room left to write to .*new \([^()]*\); what was written before is whole"
        ),
    ):
        write_findings(tmp_path / "new", findings, PROVENANCE)
    assert write_findings(tmp_path / "new", findings, PROVENANCE).exists()


def test_all_files_are_written_and_the_page_says_everything(findings: Findings, tmp_path: Path, read: Callable) -> None:
    page = write_findings(tmp_path / "new", findings, PROVENANCE)
    assert page == tmp_path / "new" / "ablation.html"
    assert (tmp_path / "new" / "figures" / "ablation_matrix.png").read_bytes()[:4] == b"\x89PNG"
    text = " ".join(read(page).words)
    for said in (
        "Ablation", "What falls when latents go?", "base → distilled", "-3.20", "95 % CI -3.60 to -2.90",
        "n = 100 positions", "control -0.1", "Effects", "deductive", "-2.00", "-2.50 to -1.50", "1,100",
        "Every step", "a long list",
        "95 % intervals", "the cap", "before", "Wait, no", "after", "So it is", "python recipes/ablate.py",
        "2.13.0", "ablation.json",
    ):  # fmt: skip
        assert said in text, said


def test_published_findings_are_written_and_shown(
    findings: Findings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(tmp_path, RunConsole(Console(width=200)), findings, PROVENANCE)
    assert json.loads((tmp_path / "ablation.json").read_text())["provenance"] == PROVENANCE
    said = capsys.readouterr().out
    assert f"page: {tmp_path / 'ablation.html'}" in said
    assert "Effects" in said


def test_results_are_strict_json_beside_question_and_provenance(findings: Findings, tmp_path: Path) -> None:
    write_findings(tmp_path, findings, PROVENANCE)

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
        "provenance": PROVENANCE,
    }


def test_text_of_findings_is_never_markup(findings: Findings, tmp_path: Path, read: Callable) -> None:
    evil = '<script>alert("1")</script>'
    findings = replace(
        findings, title=evil, question=evil, facts={evil: evil},
        tables=[Table(title=evil, columns=[evil, "b"], rows=[[evil, 1]], note=evil)],
        charts=[replace(findings.charts[0], caption=evil)],
        texts=[SideBySide(title=evil, labels=(evil, evil), texts=(evil, evil))],
    )  # fmt: skip
    page = write_findings(tmp_path, findings, {"command": evil, evil: evil, "versions": {evil: evil}})
    assert "<script" not in page.read_text(encoding="utf-8")
    assert " ".join(read(page).words).count(evil) == 20


def test_a_chart_of_any_name_is_saved_and_stays_within_its_ids(
    findings: Findings, tmp_path: Path, read: Callable
) -> None:
    evil = '../a/b "x" (y) #z & <script>'
    page = write_findings(tmp_path, replace(findings, charts=[replace(findings.charts[0], name=evil)]), {})
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["ablation_-a-b-x-y-z-script-.png"]
    ids = {value for key, value in read(page).attributes if key == "id"}
    text = page.read_text(encoding="utf-8")
    references = set(re.findall(r'(?:url\(|href=")#([^)"]*)[)"]', text))
    assert references
    assert references <= ids
    assert "<script" not in text


def test_a_table_too_wide_has_its_intervals_under_the_values(findings: Findings, tmp_path: Path) -> None:
    for n_columns, stacked in ((5, False), (6, True)):
        columns = ["category", *(f"arm {number}" for number in range(n_columns))]
        rows = [["deductive", *[Estimate(-2.0, -2.5, -1.5)] * n_columns]]
        wide = replace(findings, tables=[Table(title="wide", columns=columns, rows=rows)])
        text = write_findings(tmp_path, wide, {}).read_text(encoding="utf-8")
        assert ('<table class="stacked">' in text) is stacked


def test_names_stay_on_a_line_and_prose_is_folded(findings: Findings, tmp_path: Path) -> None:
    table = Table(title="t", columns=["category", "n", "example"], rows=[["deductive", 3, "so it is. " * 9]])
    text = write_findings(tmp_path, replace(findings, tables=[table]), {}).read_text(encoding="utf-8")
    assert '<th class="name">category</th><th>n</th><th class="prose">example</th>' in text


def test_a_page_of_the_question_alone_has_no_empty_parts(findings: Findings, tmp_path: Path) -> None:
    bare = replace(findings, headline=[], tables=[], charts=[], texts=[])
    text = write_findings(tmp_path, bare, {}).read_text(encoding="utf-8")
    assert "What falls" in text
    assert "Figures" not in text
    assert "<table" not in text
    assert '<dl class="headline">' not in text
