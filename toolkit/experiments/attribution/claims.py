"""What the page of an attribution graph claims of its edges; written before measuring."""

from toolkit.experiments.attribution.study import EdgeTests
from toolkit.statistics.verdicts import Claim, Margin

LEAST_R = 0.5
"""By how much predicted and measured changes must correlate better than shuffled ones, in the model as it is."""
LEAST_SLOPE = 0.5
"""Share of the predicted change that must be measured there."""


def claims(tests: EdgeTests) -> list[Claim]:
    """Edges say what their latents do in the model as it is, and better than the weights of other edges do."""
    free = tests.agreement["free"]
    return [
        Claim(
            name="edges predict what happens without their latents",
            effect=free.r,
            margins=(Margin(over="r of other edges' predictions", difference=tests.beyond_shuffled, least=LEAST_R),),
            n=free.sources,
        ),
        Claim(
            name="changes are at least half as large as predicted",
            effect=free.slope,
            margins=(Margin(over="no change", difference=free.slope, least=LEAST_SLOPE),),
            n=free.sources,
        ),
    ]
