"""The tables of the page of a reasoning evaluation."""

from collections.abc import Sequence
from math import isnan, nan
from typing import get_args

from toolkit.answers.records import AnswerRecord, Verdict
from toolkit.experiments.reasoning_evaluation.results import ArmResults, Measured
from toolkit.formatting import counted
from toolkit.reports.findings import Cell, Share, Table
from toolkit.statistics.estimates import Estimate

COLUMNS = {
    "accuracy": "accuracy",
    "length_median": "median length",
    "cut_share": "cut",
    "finished_share": "finished",
    "unanswered_share": "unanswered",
    "hesitation_per_1k": "hesitation",
}
"""Measures that the tables show, with the names of their columns."""
CHANGES = {
    "accuracy": "accuracy",
    "length_median": "length, median",
    "length": "length, mean",
    "finished_share": "finished",
    "hesitation_per_1k": "hesitation",
}
"""Measures whose differences the tables show."""
HALF = 0.5
MOST_DISPUTED = 30
LONGEST_SAID = 60


def arms_table(found: Measured) -> Table:
    """Each arm's answers."""
    return Table(
        title="Answers by arm",
        columns=("arm", *COLUMNS.values()),
        rows=[[name, *(_of_arm(found, arm, each) for each in COLUMNS)] for name, arm in found.arms.items()],
        note=(
            f"{counts(found)}; 95 % intervals are over problems. accuracy: answers that are right and ended by"
            " themselves. median length: tokens until </think>, or all where it is not written. cut: answers whose"
            f" thinking the limit of {found.new_tokens:,} tokens cut, so that their true lengths are greater; a median"
            " is known where these are less than half. finished: answers that ended by themselves. unanswered: answers"
            " that ended without saying one. hesitation: self-reflection words per 1,000 tokens."
        ),
    )


def _of_arm(found: Measured, arm: ArmResults, measure: str) -> Cell:
    """A measure of an arm; a median is at least the limit where that cut half of the answers."""
    if measure == "length_median" and arm.estimates["cut_share"].value >= HALF:
        return f"at least {found.new_tokens:,}"
    return _cell(arm.estimates[measure])


def paired_table(found: Measured) -> Table:
    """Each other arm less the first one."""
    return Table(
        title=f"Differences from {found.first}",
        columns=("arm", *CHANGES.values(), "ln(length)"),
        rows=[
            [name, *(_cell(each.estimates[measure]) for measure in CHANGES), _cell(each.log_length)]
            for name, each in found.paired.items()
        ],
        note=(
            f"Each arm less {found.first}, paired by problem and sample, with the same random seeds; {counts(found)},"
            " 95 % intervals over problems. length, median: the median of the differences. ln(length): mean difference"
            f" of logarithms, .1 is a tenth longer. A length that the limit cut counts as {found.new_tokens:,} tokens."
        ),
    )


def verdicts_table(found: Measured) -> Table:
    """How many answers of each arm are right, wrong, unanswered and cut off, and how long the first two are."""
    verdicts: tuple[Verdict, ...] = get_args(Verdict)
    long: tuple[Verdict, ...] = ("right", "wrong")
    return Table(
        title="Right and wrong answers",
        columns=("arm", *verdicts, *(f"length, {each}" for each in long)),
        rows=[
            [
                name,
                *(arm.verdicts[each] for each in verdicts),
                *(_cell(arm.length_by_verdict.get(each, Estimate(nan))) for each in long),
            ]
            for name, arm in found.arms.items()
        ],
        note=(
            f"Number of answers; {counts(found)}. unanswered: ended, and says no answer. cut off: did not end before"
            f" {found.new_tokens:,} tokens. length: mean tokens until </think>, 95 % intervals over problems. Where"
            " wrong answers are the longer ones, length tells of mistakes and not of deeper thought."
        ),
    )


def budget_table(found: Measured) -> Table:
    """Accuracy of each arm at each budget."""
    points = zip(*(arm.budget for arm in found.arms.values()), strict=True)
    rows: list[list[Cell]] = [
        [
            f"{at[0].tokens:,}",
            *(_cell(each.accuracy) for each in at),
            Share(f"{at[0].forced:,}", at[0].forced / at[0].answers),
        ]
        for at in points
    ]
    return Table(
        title="Accuracy at a budget of thinking",
        columns=("tokens", *found.arms, f"forced, {found.first}"),
        rows=rows,
        note=(
            "Share of right answers where thinking is stopped after so many tokens, and an answer is forced; 95 %"
            f" intervals over problems; {counts(found)}. forced: answers of {found.first} whose thinking was stopped;"
            " of the others, whose thinking had ended before, the free answer counts."
        ),
        detail=True,
    )


def budget_differences(found: Measured) -> Table:
    """Each other arm less the first one, at each budget."""
    points = zip(*(each.budget for each in found.paired.values()), strict=True)
    return Table(
        title=f"Accuracy at a budget, differences from {found.first}",
        columns=("tokens", *found.paired),
        rows=[[f"{at[0][0]:,}", *(_cell(estimate) for _, estimate in at)] for at in points],
        note=f"Paired by problem and sample, 95 % intervals over problems; {counts(found)}.",
        detail=True,
    )


def disputed_tables(found: Measured) -> list[Table]:
    """Answers on which the two graders disagree; none where there are none."""
    disputed = found.disputed
    if not disputed:
        return []
    rows: list[list[Cell]] = [_disputed_row(found, each) for each in disputed[:MOST_DISPUTED]]
    more = f" The first {MOST_DISPUTED} are shown." if len(disputed) > MOST_DISPUTED else ""
    return [
        Table(
            title="Where the graders disagree",
            columns=("problem", "arm", "wanted", "said", "counted as"),
            rows=rows,
            note=(
                f"{counted(len(disputed), 'answer')} that math-verify takes for right, and the comparison of text,"
                f" numbers and letters does not: math-verify works expressions out, so that 2^10 counts as 1024.{more}"
            ),
            detail=True,
        )
    ]


def _disputed_row(found: Measured, record: AnswerRecord) -> list[Cell]:
    question = found.questions[record.question]
    at = "" if record.budget is None else f", forced after {record.budget:,} tokens"
    said = (record.said or "")[:LONGEST_SAID]
    return [str(record.question), f"{record.arm}{at}", question.answer, said, record.verdict]


def counts(found: Measured) -> str:
    """What was asked: n = 160 problems, 4 answers to each in each arm."""
    return f"n = {len(found.questions):,} problems, {samples(found)}"


def samples(found: Measured) -> str:
    """How often each problem was asked."""
    return f"{found.samples} answers to each in each arm" if found.samples > 1 else "one answer to each in each arm"


def _cell(estimate: Estimate) -> Cell:
    """An estimate, or its value alone where it has no interval; nothing where it is not known."""
    if isnan(estimate.value):
        return None
    return estimate.value if estimate.low is None else estimate


def known(estimates: Sequence[Estimate]) -> bool:
    """Whether any value is known."""
    return not all(isnan(each.value) for each in estimates)
