"""The figures of the page of a reasoning evaluation."""

from collections.abc import Iterator
from itertools import islice

from toolkit.experiments.reasoning_evaluation.results import Measured
from toolkit.experiments.reasoning_evaluation.tables import known
from toolkit.reports.adapter_figures import Panel, line_panels
from toolkit.reports.drawing import STREAM_COLOURS
from toolkit.reports.figures import estimates_by_name
from toolkit.reports.findings import Chart

LINES = len(STREAM_COLOURS)
"""Most lines in one panel: each has a colour of its own."""


def charts(found: Measured) -> list[Chart]:
    """Accuracy by arm and at budgets, where right answers are known, then lengths and hesitation by arm."""
    graded = known([arm.estimates["accuracy"] for arm in found.arms.values()])
    return [
        *([_by_arm(found, "accuracy", "Accuracy", "share of problems")] if graded else []),
        *([_curves(found)] if graded and found.arms[found.first].budget else []),
        _by_arm(found, "length_median", "Median length of thinking", "tokens until </think>"),
        _by_arm(found, "hesitation_per_1k", "Hesitation", "self-reflection words per 1,000 tokens"),
    ]


def _by_arm(found: Measured, measure: str, title: str, unit: str) -> Chart:
    estimates = {name: arm.estimates[measure] for name, arm in found.arms.items()}
    return Chart(
        name=measure,
        figure=estimates_by_name(estimates, f"{title} (n = {len(found.questions):,})", unit),
        caption=f"{title} of each arm, {unit}, with 95 % intervals over problems.",
    )


def _curves(found: Measured) -> Chart:
    """Accuracy by budget: the first arm in every panel, beside a few others."""
    first, *others = found.arms
    panels = [
        Panel(
            title=f"Accuracy where thinking is stopped (n = {len(found.questions):,})",
            xlabel="tokens of thinking",
            x=[at.tokens for at in found.arms[first].budget],
            lines={name: [at.accuracy for at in found.arms[name].budget] for name in (first, *some)},
            doublings=True,
        )
        for some in _few(others)
    ]
    return Chart(
        name="budget",
        figure=line_panels(panels),
        caption="Share of right answers where thinking is stopped after so many tokens, and an answer is forced; bands"
        " are 95 % intervals over problems.",
    )


def _few(names: list[str]) -> Iterator[tuple[str, ...]]:
    """The names, as many at a time as a panel has colours for beside the first arm's."""
    left = iter(names)
    yield tuple(islice(left, LINES - 1))
    while some := tuple(islice(left, LINES - 1)):
        yield some
