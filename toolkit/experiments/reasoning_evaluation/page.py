"""The page of a reasoning evaluation: who is right, how long each thinks, and what edits change."""

from collections.abc import Mapping
from math import isnan
from typing import Any

from toolkit.experiments.reasoning_evaluation import ANSWERS, ReasoningEvaluationConfig
from toolkit.experiments.reasoning_evaluation.arms import PLAINLY
from toolkit.experiments.reasoning_evaluation.charts import charts
from toolkit.experiments.reasoning_evaluation.claims import claims
from toolkit.experiments.reasoning_evaluation.measure import Evaluated
from toolkit.experiments.reasoning_evaluation.results import ArmResults, Measured, Paired
from toolkit.experiments.reasoning_evaluation.tables import (
    arms_table,
    budget_differences,
    budget_table,
    disputed_tables,
    paired_table,
    samples,
    verdicts_table,
)
from toolkit.models.pair import ModelPair
from toolkit.reports.findings import Findings, Headline, SideBySide, left_out_tables
from toolkit.reports.verdicts import verdict_results, verdict_table


def page(settings: ReasoningEvaluationConfig, opened: ModelPair, found: Evaluated) -> Findings:
    """The page's content."""
    measured = found.measured
    kept = sum(len(arm.records) + len(arm.forced) for arm in measured.arms.values()) - measured.generated
    written = {ANSWERS: f"{measured.generated:,} written now, {kept:,} kept from before"}
    facts = {"models": " → ".join(opened.origins), **found.facts, **written}
    return findings_of(measured, facts, {"sha256": found.files})


def findings_of(found: Measured, facts: Mapping[str, str], provenance: Mapping[str, Any]) -> Findings:
    """What is said of the answers of any arms."""
    claimed = claims(found)
    return Findings(
        name="reasoning_evaluation",
        title="Do answers change?",
        question="Which models answer rightly, how long do they think, and what do edits of their streams change?",
        facts=facts,
        headline=_headline(found),
        tables=[
            *([verdict_table(claimed)] if claimed else []),
            arms_table(found),
            *([paired_table(found)] if found.paired else []),
            verdicts_table(found),
            *left_out_tables("arm", found.left_out),
            *([budget_table(found)] if found.arms[found.first].budget else []),
            *([budget_differences(found)] if found.arms[found.first].budget and found.paired else []),
            *disputed_tables(found),
        ],
        charts=charts(found),
        texts=_texts(found),
        claims=claimed,
        results=results(found) | {"verdicts": verdict_results(claimed)},
        provenance=provenance,
    )


def _headline(found: Measured) -> list[Headline]:
    """How often the first arm is right, how much more often than the next one, and how long it thinks.

    Where the next one is asked plainly too, that is the arm: asked as the first is, it may not know how to answer.
    """
    first = found.arms[found.first].estimates
    n, unit = len(found.questions), "problems"
    rows = [Headline(name=f"accuracy, {found.first}", value=first["accuracy"], n=n, unit=unit, note=samples(found))]
    for second in [*found.paired][:1]:
        name = plainly if (plainly := f"{second} {PLAINLY}") in found.paired else second
        each = found.paired[name]
        difference = each.estimates["accuracy"].reflected()
        beside = f"{name} {found.arms[name].estimates['accuracy'].value:.2f}"
        rows.append(Headline(name=f"accuracy, {found.first} − {name}", value=difference, n=n, unit=unit, note=beside))
    if isnan(first["accuracy"].value):
        rows = []
    return [
        *rows,
        Headline(
            name=f"median length, {found.first}",
            value=first["length_median"],
            n=n,
            unit=unit,
            note=f"tokens until </think>; {first['cut_share'].value:.0%} are cut at {found.new_tokens:,}",
        ),
        Headline(
            name=f"finished, {found.first}",
            value=first["finished_share"],
            n=n,
            unit=unit,
            note="answers that end by themselves",
        ),
    ]


def results(found: Measured) -> dict[str, Any]:
    """Every number."""
    return {
        "arms": {name: _arm_results(arm) for name, arm in found.arms.items()},
        "paired": {name: _paired_results(each) for name, each in found.paired.items()},
        "first": found.first,
        "disputed": len(found.disputed),
        "n": {"problems": len(found.questions), "samples": found.samples, "new_tokens": found.new_tokens},
    }


def _arm_results(arm: ArmResults) -> dict[str, Any]:
    values = {name: each.value for name, each in arm.estimates.items()}
    accuracy = arm.estimates["accuracy"]
    return values | {
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "budget": [[at.tokens, at.accuracy.value] for at in arm.budget],
        "budget_forced": [[at.tokens, at.forced] for at in arm.budget],
        "estimates": {**arm.estimates, "budget": [at.accuracy for at in arm.budget]},
        "length_by_verdict": {**arm.length_by_verdict},
        "verdicts": {**arm.verdicts},
    }


def _paired_results(each: Paired) -> dict[str, Any]:
    at_budgets = [[tokens, estimate] for tokens, estimate in each.budget]
    return {**each.estimates, "log_length": each.log_length, "budget": at_budgets}


def _texts(found: Measured) -> list[SideBySide]:
    """All arms' first answers to the problems that are worth reading."""
    return [
        SideBySide(
            title=f"{found.questions[number].question} (the answer is {found.questions[number].answer})",
            labels=tuple(f"{name}: {_verdict(found, name, number)}" for name in found.arms),
            texts=tuple(found.text(name, number) for name in found.arms),
        )
        for number in found.side_by_side
    ]


def _verdict(found: Measured, arm: str, question: int) -> str:
    records = found.arms[arm].records
    return next(each.verdict or "not graded" for each in records if (each.question, each.sample) == (question, 0))
