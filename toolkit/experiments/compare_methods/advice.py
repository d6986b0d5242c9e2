"""What to use for which question, read off the measured numbers."""

from collections.abc import Callable, Mapping
from statistics import fmean

from toolkit.experiments.compare_methods.measure import Comparison
from toolkit.experiments.compare_methods.methods import DEFAULT
from toolkit.experiments.compare_methods.study import Found
from toolkit.experiments.compare_methods.verdicts import (
    count,
    difference_claims,
    false_discoveries,
    marking_claims,
    shown,
)
from toolkit.formatting import number
from toolkit.reports.findings import Table
from toolkit.statistics.estimates import Estimate

Row = tuple[str, str, str]


def advice_table(found: Comparison) -> Table:
    """One question a row, with the method that did best there and its number."""
    rows = [_one_unit(found), _together(found), _difference(found), _effect(found)]
    return Table(
        title="What to use for which question",
        columns=("question", "method", "why"),
        rows=[list(row) for row in rows if row is not None],
        note="This is read off the tables of this page: another pair may well give another answer.",
    )


def mean_auroc(found: Mapping[str, Found], which: Callable[[Found], Estimate] = lambda each: each.auroc) -> float:
    """The AUROC averaged over behaviours."""
    return fmean(which(each).value for each in found.values())


def _one_unit(found: Comparison) -> Row:
    reached = {name: mean_auroc(method.any_unit) for name, method in found.pair.methods.items()}
    marked = count(shown(marking_claims(found.pair), found.pair))
    best = max(reached, key=lambda name: (marked[name], reached[name]))
    why = f"mean AUROC {number(reached[best])}"
    if best != DEFAULT:
        why += f"; {DEFAULT}, the default of training, {number(reached[DEFAULT])}"
    if not marked[best]:
        return "Which one unit marks a behaviour?", "none", f"no method beats the floor; highest: {best}, {why}"
    why += f"; it beats the floor on {marked[best]} of {len(found.pair.tokens.measurable)}"
    return "Which one unit marks a behaviour?", best, why


def _together(found: Comparison) -> Row:
    reached = {
        name: mean_auroc(method.any_unit, lambda each: each.together) for name, method in found.pair.methods.items()
    }
    best = max(reached, key=lambda name: reached[name])
    alone = mean_auroc(found.pair.methods[best].any_unit)
    why = f"mean AUROC {number(reached[best])}, of its best unit alone {number(alone)}; set against no floor"
    return "Which five units mark it together?", best, why


def _difference(found: Comparison) -> Row | None:
    if found.null is None:
        return None
    kept, false = count(shown(difference_claims(found.pair), found.pair)), false_discoveries(found)
    reached = {
        name: mean_auroc(method.claimed) if method.claimed else 0.0 for name, method in found.pair.methods.items()
    }
    best = max(kept, key=lambda name: (kept[name] - false[name], reached[name]))
    n = len(found.pair.tokens.measurable)
    why = f"it claims {kept[best]} of {n} on the pair and {false[best]} of {n} on the null pair"
    if kept[best] <= false[best]:
        return "What did distillation add?", "none", f"no method claims more there than on the null pair; {best}: {why}"
    return "What did distillation add?", best, why


def _effect(found: Comparison) -> Row | None:
    lowered = {
        name: fmean(each.value for each in effects.removed.values())
        for name, effects in found.effects.items()
        if effects.removed
    }
    if not lowered:
        return None
    best = min(lowered, key=lambda name: lowered[name])
    specific = sum(each.high is not None and each.high < 0 for each in found.effects[best].specific.values())
    why = (
        f"taken out, it lowers the first word's log probability by {number(-lowered[best])} nats on average, more than"
        f" random directions do; {specific} of {len(found.effects[best].specific)} behaviours by more than any other's"
    )
    return "Which direction does the model use?", best if specific else "none", why if specific else f"{best}: {why}"
