import json
import math

import pytest
from matplotlib.figure import Figure

from toolkit.reports.files import render_findings
from toolkit.reports.findings import Chart, Findings, Headline, SideBySide, Table
from toolkit.reports.stored_findings import read_findings, stored
from toolkit.statistics import Estimate


@pytest.fixture
def findings() -> Findings:
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


def test_what_is_stored_is_found_again_to_the_last_bit(findings: Findings) -> None:
    content = json.loads(json.dumps(stored(findings), allow_nan=False))
    again = read_findings(content)
    assert json.dumps(stored(again)) == json.dumps(content)
    assert again.results == findings.results
    assert [type(cell) for cell in again.tables[0].rows[0]] == [str, int, float, Estimate, type(None)]
    assert again.tables[0].rows[0][3] == Estimate(0.1 + 0.2)
    assert math.isnan(again.headline[0].value.high)


def test_the_page_of_stored_findings_is_the_same(findings: Findings) -> None:
    again = read_findings(json.loads(json.dumps(stored(findings))))
    assert render_findings(again, {"seed": 0}) == render_findings(findings, {"seed": 0})


@pytest.mark.parametrize(
    "content",
    [None, [], {"results": {}}, {"kind": "Other"}, {"kind": "Findings", "name": "x"}, {"kind": "Estimate", "value": 1}],
)
def test_other_content_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="no stored findings"):
        read_findings(content)


def test_keys_that_json_would_change_are_not_stored() -> None:
    with pytest.raises(AssertionError, match="keys that JSON would change"):
        stored({3: "three"})
