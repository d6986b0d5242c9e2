"""The tables of the page of a reasoning evaluation."""

from collections.abc import Sequence
from math import isnan
from typing import get_args

from toolkit.answers.records import AnswerRecord, Verdict
from toolkit.experiments.reasoning_evaluation.results import Measured
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
MOST_DISPUTED = 30
LONGEST_SAID = 60


def arms_table(found: Measured) -> Table:
    """Each arm's answers."""
    return Table(
        title="Answers by arm",
        columns=("arm", *COLUMNS.values()),
        rows=[[name, *(_cell(arm.estimates[each]) for each in COLUMNS)] for name, arm in found.arms.items()],
        note=(
            f"{counts(found)}; 95 % intervals are over problems. accuracy: answers that are right and ended by"
            " themselves. median length: tokens until </think>, or all where it is not written. cut: answers whose"
            f" thinking the limit of {found.new_tokens:,} tokens cut, so that their true lengths are greater; a median"
            " is known where these are less than half. finished: answers that ended by themselves. unanswered: answers"
            " that ended without saying one. hesitation: self-reflection words per 1,000 tokens."
        ),
    )


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
    """How many answers of each arm are right, wrong, unanswered and cut off, and how long they are."""
    verdicts: tuple[Verdict, ...] = get_args(Verdict)
    rows: list[list[Cell]] = []
    for name, arm in found.arms.items():
        total = sum(arm.verdicts.values())
        shares = [Share(f"{arm.verdicts[each]:,}", arm.verdicts[each] / total if total else 0.0) for each in verdicts]
        lengths = [_cell(arm.length_by_verdict[each]) if each in arm.length_by_verdict else None for each in verdicts]
        rows.append([name, *(cell for pair in zip(shares, lengths, strict=True) for cell in pair)])
    return Table(
        title="Right, wrong, unanswered and cut off",
        columns=("arm", *(column for each in verdicts for column in (each, f"length, {each}"))),
        rows=rows,
        note=(
            f"Number of answers, and their mean length in tokens until </think>, with 95 % intervals over problems;"
            f" {counts(found)}. unanswered: ended, and says no answer. cut off: did not end before"
            f" {found.new_tokens:,} tokens; its length is at least what it says."
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
                f"{len(disputed):,} answers that math-verify takes for right, and the comparison of text, numbers and"
                f" letters does not.{more}"
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
    """What was asked: 160 problems, 4 answers to each."""
    samples = f"{found.samples} answers to each in each arm" if found.samples > 1 else "one answer to each in each arm"
    return f"n = {len(found.questions):,} problems, {samples}"


def _cell(estimate: Estimate) -> Cell:
    """An estimate, or its value alone where it has no interval; nothing where it is not known."""
    if isnan(estimate.value):
        return None
    return estimate.value if estimate.low is None else estimate


def known(estimates: Sequence[Estimate]) -> bool:
    """Whether any value is known."""
    return not all(isnan(each.value) for each in estimates)
