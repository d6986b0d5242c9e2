"""What the page of a reasoning evaluation says, on answers made by hand."""

from dataclasses import replace

import pytest

from toolkit.experiments.reasoning_evaluation.page import findings_of
from toolkit.reports.files import as_results
from toolkit.statistics.estimates import Estimate

ARMS = {"distilled": (20, 160), "base": (4, 40), "distilled + steer 623 0.1": (12, 300)}


def table(findings, title: str):
    """The table of that title."""
    return next(each for each in findings.tables if each.title == title)


@pytest.fixture
def findings(measured):
    """The page of three arms."""
    return findings_of(measured(ARMS), {"models": "base → distilled"}, {})


def test_results_hold_each_arm_in_the_form_that_is_promised(findings):
    found = as_results(findings.results)
    assert list(found["arms"]) == list(ARMS)
    arm = found["arms"]["distilled"]
    assert arm["accuracy"] == pytest.approx(20 / 24)
    assert arm["accuracy_low"] < arm["accuracy"] < arm["accuracy_high"]
    for name in ("length_median", "cut_share", "finished_share", "hesitation_per_1k"):
        assert isinstance(arm[name], float)
    assert arm["budget"] == [[40, pytest.approx(5 / 24)], [80, pytest.approx(10 / 24)]]
    assert list(found["paired"]) == ["base", "distilled + steer 623 0.1"]
    assert found["paired"]["base"]["accuracy"] == {"value": 0.25, "low": 0.125, "high": 0.375}


def test_every_table_says_of_how_many_problems(findings):
    for title in ("Answers by arm", "Differences from distilled", "Right and wrong answers"):
        assert "n = 24 problems, one answer to each in each arm" in table(findings, title).note
    assert findings.headline[0].n == 24


def test_the_headline_sets_the_first_arm_against_the_second(findings):
    name = "accuracy, distilled − base"
    assert next(each.value for each in findings.headline if each.name == name) == Estimate(-0.25, -0.375, -0.125)


def test_the_headline_takes_the_second_arm_as_it_is_asked_plainly_where_it_is(measured):
    said = findings_of(measured({"distilled": (20, 160), "base": (0, 40), "base plainly": (16, 30)}), {}, {}).headline
    assert [each.name for each in said[:2]] == ["accuracy, distilled", "accuracy, distilled − base plainly"]
    assert said[1].note == "base plainly 0.67"


def test_answers_stand_side_by_side_with_their_verdicts(findings):
    first, last = findings.texts
    assert first.title == "What is 0? (the answer is 0)"
    assert first.labels == ("distilled: right", "base: right", "distilled + steer 623 0.1: right")
    assert last.labels[0] == "distilled: wrong"
    assert last.texts[1].startswith("base thinks</think>")


def test_a_median_is_not_known_where_half_of_the_answers_are_cut(measured):
    found = measured(ARMS)
    arm = found.arms["base"]
    cut = replace(arm, estimates={**arm.estimates, "cut_share": Estimate(0.5)})
    rows = table(findings_of(replace(found, arms={**found.arms, "base": cut}), {}, {}), "Answers by arm").rows
    assert [row[2] for row in rows[:2]] == [160.0, "at least 320"]


def test_disagreements_of_the_graders_are_listed_and_counted(measured):
    found = measured(ARMS)
    arm = found.arms["base"]
    records = (replace(arm.records[0], disputed=True, said="1/2"), *arm.records[1:])
    disputed = replace(found, arms={**found.arms, "base": replace(arm, records=records)})
    listed = table(findings_of(disputed, {}, {}), "Where the graders disagree")
    assert listed.rows == [["0", "base", "0", "1/2", "right"]]
    assert listed.note.startswith("1 answer that")
    assert "Where the graders disagree" not in [each.title for each in findings_of(found, {}, {}).tables]


def test_where_right_answers_are_not_known_nothing_is_said_of_accuracy(measured):
    found = measured(ARMS)
    unknown = {
        name: replace(
            arm,
            records=tuple(replace(each, verdict=None) for each in arm.records),
            estimates={**arm.estimates, "accuracy": Estimate(float("nan"))},
            verdicts=dict.fromkeys(arm.verdicts, 0),
        )
        for name, arm in found.arms.items()
    }
    findings = findings_of(replace(found, arms=unknown), {}, {})
    assert [each.name for each in findings.headline] == ["median length, distilled", "finished, distilled"]
    assert {each.name for each in findings.charts} == {"length_median", "hesitation_per_1k"}
    assert not [claim for claim in findings.claims if "right" in claim.name]


def test_the_curves_of_many_arms_stand_in_panels_of_few(measured):
    arms = {"distilled": (20, 160)} | {f"distilled + random {i} 0.1": (19, 150) for i in range(7)}
    (curves,) = [each for each in findings_of(measured(arms), {}, {}).charts if each.name == "budget"]
    drawn = [[line.get_label() for line in axes.get_lines()] for axes in curves.figure.axes]
    assert [names[0] for names in drawn] == ["distilled"] * 3
    assert [name for names in drawn for name in names[1:]] == list(arms)[1:]
