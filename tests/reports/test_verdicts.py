import json

import pytest

from toolkit.reports.files import restored, stored
from toolkit.reports.verdicts import verdict_results, verdict_table
from toolkit.statistics.estimates import Estimate, with_error
from toolkit.statistics.verdicts import Claim, Margin


def claim(name: str, *margins: Margin) -> Claim:
    return Claim(name=name, effect=Estimate(1.0), margins=margins, n=40)


SURE = Margin(over="nothing", difference=with_error(2.0, 0.1, 39.0), least=0.5)
CLOSE = Margin(over="chance", difference=with_error(1.0, 0.44, 39.0))  # p = .029
CLAIMS = [
    claim("both", SURE, CLOSE),
    claim("surely", SURE),
    claim("no interval", Margin(over="chance", difference=Estimate(9.0, note="3 documents"))),
]


def test_a_row_has_the_least_certain_margin_and_the_verdict_after_adjustment():
    table = verdict_table(CLAIMS, note="Ours.")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["shows"] for row in rows] == ["no", "yes", "no"]  # .029 of three claims is .057
    assert rows[0]["margin"] == CLOSE.difference
    assert [row["over"] for row in rows] == ["chance", "nothing + 0.5", "chance"]
    assert rows[0]["adjusted p"] == pytest.approx(2 * rows[0]["p"])
    assert table.note.startswith("Ours. 1 of 3 show.")
    assert verdict_table(CLAIMS[:1]).rows[0][-1] == "yes"  # the same claim, alone on its page


def test_a_difference_that_may_be_below_zero_is_written_with_a_minus():
    [row] = verdict_table([claim("as good", Margin(over="the other", difference=Estimate(0.0), least=-0.02))]).rows
    assert row[3] == "the other − 0.02"


def test_results_hold_every_margin():
    found = verdict_results(CLAIMS)
    assert [each["shows"] for each in found] == [False, True, False]
    assert found[0]["margins"][0] == {"over": "nothing", "difference": SURE.difference, "least": 0.5}


def test_stored_claims_are_judged_as_before():
    again = restored(json.loads(json.dumps(stored(CLAIMS), allow_nan=False)))
    assert again == CLAIMS
