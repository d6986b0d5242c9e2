"""What the page claims of an adapter; the limits were set before anything was measured."""

from toolkit.answers.means import UNIT
from toolkit.experiments.adapter_evaluation.answers import ModeAnswers
from toolkit.experiments.adapter_evaluation.closeness import FIRST, LAST, SINGLE, Closeness, Yardsticks
from toolkit.experiments.adapter_evaluation.measure import Measured
from toolkit.experiments.adapter_evaluation.study import beyond_share
from toolkit.statistics.estimates import mean
from toolkit.statistics.verdicts import Claim, Margin

RECOVERED = 0.7
"""Least share of the accuracy that the distilled model has beyond the hybrid."""
LENGTH = 0.1
"""Largest share by which the mean length of answers may differ from the distilled model's."""


def claims(found: Measured) -> list[Claim]:
    """Return what is claimed: accuracy where right answers are known, length, and predictions."""
    accuracy = [accuracy_claim(found.answers)] if found.answers.known else []
    near, yardsticks = found.closeness, found.yardsticks
    return [
        *accuracy,
        length_claim(found.answers),
        predictions_claim(near, yardsticks),
        partial_claim(near, yardsticks),
    ]


def accuracy_claim(answers: ModeAnswers) -> Claim:
    """Of the accuracy that the distilled model has beyond the hybrid, enough is recovered, and there is some."""
    adapter, hybrid, distilled = (answers.values("correct", mode) for mode in ("adapter", "hybrid", "distilled"))
    beyond = mean(beyond_share(adapter, hybrid, distilled, RECOVERED), unit=UNIT)
    return Claim(
        name=f"the adapter recovers at least {RECOVERED:.0%} of the accuracy that the hybrid lacks",
        effect=answers.recovered("correct"),
        margins=(
            Margin(over=f"{RECOVERED:.0%} of distilled − hybrid", difference=beyond),
            Margin(over="hybrid, by the distilled model", difference=mean(distilled - hybrid, unit=UNIT)),
        ),
        n=int((~distilled.isnan()).sum()),
    )


def length_claim(answers: ModeAnswers) -> Claim:
    """Answers are neither shorter nor longer than the limit allows: both are tested."""
    adapter, distilled = (answers.values("length", mode) for mode in ("adapter", "distilled"))
    low, high = 1 - LENGTH, 1 + LENGTH
    return Claim(
        name=f"the adapter's answers are as long as the distilled model's, within {LENGTH:.0%}",
        effect=answers.length_ratio,
        margins=(
            Margin(over=f"{low:g} × distilled", difference=mean(adapter - low * distilled, unit=UNIT)),
            Margin(over=f"adapter, by {high:g} × distilled", difference=mean(high * distilled - adapter, unit=UNIT)),
        ),
        n=len(distilled),
    )


def predictions_claim(closeness: Closeness, yardsticks: Yardsticks) -> Claim:
    """The adapter's KL is below that of the hybrid, of decoder biases alone, and of shuffled decoder rows."""
    own = closeness.fidelity.kl
    return Claim(
        name="the adapter's predictions are nearer the distilled model's than each control's",
        effect=closeness.kl,
        margins=tuple(
            Margin(over=f"adapter's KL, by {name}", difference=yardsticks.per_token(kl - own))
            for name, kl in yardsticks.kl.items()
        ),
        n=len(own),
    )


def partial_claim(closeness: Closeness, yardsticks: Yardsticks) -> Claim:
    """Errors of layers add up, as published: with some layers replaced KL is below that with all of them replaced."""
    whole, parts = closeness.fidelity.kl, yardsticks.partial
    some = {f"{name}, k = {k}": parts[name][k] for name in (FIRST, LAST) for k in range(1, len(parts[name]) - 1)}
    some |= {f"{SINGLE} layer {layer}": kl for layer, kl in enumerate(parts[SINGLE])}
    return Claim(
        name="replacing some layers moves predictions less than replacing all",
        effect=closeness.kl,
        margins=tuple(
            Margin(over=f"KL of {name}", difference=yardsticks.per_token(whole - kl)) for name, kl in some.items()
        ),
        n=len(whole),
    )
