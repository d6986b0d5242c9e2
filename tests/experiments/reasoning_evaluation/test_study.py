"""What is said of arms and of their differences, on answers whose figures are known."""

import math
from collections.abc import Sequence

import pytest
import torch

from toolkit.answers.records import AnswerRecord, Verdict
from toolkit.experiments.reasoning_evaluation.results import MEASURES, ArmResults
from toolkit.experiments.reasoning_evaluation.study import arm_results, chosen_questions, paired_results
from toolkit.statistics.estimates import mean
from toolkit.statistics.medians import median

N, SAMPLES, LIMIT = 12, 2, 100
VERDICTS: list[Verdict] = ["right", "right", "wrong", "unanswered", "cut off", "right"]


def answer(
    arm: str, question: int, sample: int, verdict: Verdict | None, length: int, *, budget: int | None = None
) -> AnswerRecord:
    """One that was cut off was so in its thinking."""
    cut = verdict == "cut off"
    return AnswerRecord(
        arm=arm,
        question=question,
        sample=sample,
        text="",
        tokens=LIMIT if cut else length + 10,
        thought=None if cut else length,
        hesitations=question,
        finished=not cut,
        said=None,
        verdict=verdict,
        budget=budget,
    )


def verdict_of(question: int, sample: int, shift: int) -> Verdict:
    return VERDICTS[(question + 5 * sample + shift) % len(VERDICTS)]


def arm(name: str, shift: int, factor: int) -> ArmResults:
    """Answers whose verdicts are shifted, and lengths multiplied."""
    places = [(question, sample) for question in range(N) for sample in range(SAMPLES)]
    free = [answer(name, q, s, verdict_of(q, s, shift), factor * (5 + q + s)) for q, s in places]
    forced = [answer(name, q, s, "right" if (q + s) % (2 + shift) == 0 else "wrong", 4, budget=4) for q, s in places]
    return arm_results(free[::-1], forced, (4,))


@pytest.fixture(scope="module")
def first() -> ArmResults:
    return arm("first", 0, 1)


@pytest.fixture(scope="module")
def other() -> ArmResults:
    return arm("other", 1, 2)


def by_question(values: Sequence[float]) -> torch.Tensor:
    """Means over the samples of each question."""
    return torch.tensor(values, dtype=torch.float64).reshape(N, SAMPLES).mean(dim=1)


def values(shift: int, factor: int) -> dict[str, list[float]]:
    """Each measure of each answer."""
    found: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for question in range(N):
        for sample in range(SAMPLES):
            verdict = verdict_of(question, sample, shift)
            cut, length = verdict == "cut off", factor * (5 + question + sample)
            tokens = LIMIT if cut else length + 10
            found["accuracy"].append(verdict == "right")
            found["length"].append(LIMIT if cut else length)
            found["cut_share"].append(cut)
            found["finished_share"].append(not cut)
            found["unanswered_share"].append(verdict == "unanswered")
            found["hesitation_per_1k"].append(1000 * question / tokens)
    return found


def test_samples_of_a_question_are_averaged_and_intervals_are_over_questions(first: ArmResults) -> None:
    groups = torch.arange(N).repeat_interleave(SAMPLES)
    for measure, each in values(0, 1).items():
        if measure == "length_median":
            continue
        expected = mean(by_question(each), unit="question")
        found = first.estimates[measure]
        assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    lengths = torch.tensor(values(0, 1)["length"], dtype=torch.float64)
    assert first.estimates["length_median"] == median(lengths, groups, unit="question")
    assert list(first.estimates) == list(MEASURES)
    assert first.verdicts == {"right": 12, "wrong": 4, "unanswered": 4, "cut off": 4}


def test_lengths_are_told_by_verdict(first: ArmResults) -> None:
    lengths = torch.full((N, SAMPLES), math.nan, dtype=torch.float64)
    for question in range(N):
        for sample in range(SAMPLES):
            if verdict_of(question, sample, 0) == "right":
                lengths[question, sample] = 5 + question + sample
    assert first.length_by_verdict["right"] == mean(lengths.nanmean(dim=1), unit="question")
    assert first.length_by_verdict["cut off"].value == LIMIT


def test_arms_are_paired_by_question_and_sample(first: ArmResults, other: ArmResults) -> None:
    paired = paired_results(other, first)
    ours, theirs = values(1, 2), values(0, 1)
    for measure in MEASURES:
        if measure == "length_median":
            continue
        changes = by_question(ours[measure]) - by_question(theirs[measure])
        expected = mean(changes, unit="question")
        found = paired.estimates[measure]
        assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    changes = torch.tensor(ours["length"], dtype=torch.float64) - torch.tensor(theirs["length"], dtype=torch.float64)
    assert paired.estimates["length_median"].value == float(changes.quantile(0.5))
    logs = [math.log(a / b) for a, b in zip(ours["length"], theirs["length"], strict=True)]
    assert paired.log_length.value == pytest.approx(sum(logs) / len(logs))
    ((budget, change),) = paired.budget
    assert budget == 4
    assert change.value == pytest.approx(other.budget[0].accuracy.value - first.budget[0].accuracy.value)


def test_an_arm_that_answers_as_the_first_does_not_differ_and_pairs_narrow_the_interval(first: ArmResults) -> None:
    same = paired_results(first, first)
    assert all(each.value == 0 for each in same.estimates.values())
    longer = paired_results(arm("longer", 0, 2), first).estimates["length"]
    assert longer.high - longer.low < 2 * (first.estimates["length"].high - first.estimates["length"].low)


def test_without_right_answers_lengths_are_known_and_accuracy_is_not() -> None:
    free = [answer("a", question, 0, None, 10 + question) for question in range(N)]
    found = arm_results(free, [], ())
    assert math.isnan(found.estimates["accuracy"].value)
    assert math.isnan(found.estimates["unanswered_share"].value)
    assert found.estimates["length"].value == 15.5
    assert not any(found.verdicts.values())
    assert math.isnan(paired_results(found, found).estimates["accuracy"].value)


def test_questions_are_shown_where_arms_differ_by_a_rule_that_knows_no_text() -> None:
    def of(name: str, right: set[int], longest: int) -> ArmResults:
        free = [
            answer(name, question, 0, "right" if question in right else "wrong", 90 if question == longest else 20)
            for question in range(N)
        ]
        return arm_results(free, [], ())

    arms = {"first": of("first", {0, 1, 2, 3, 4}, -1), "other": of("other", {0, 4, 8, 9, 10}, 6)}
    assert chosen_questions(arms) == (8, 9, 1, 2, 6)
    assert chosen_questions({"first": arms["first"]}) == (0, 1)
