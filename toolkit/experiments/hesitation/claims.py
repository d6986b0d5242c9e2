"""What the page claims of hesitation latents; every number a claim must reach was set before anything was measured."""

import math

from jaxtyping import Float
from torch import Tensor

from toolkit.answers.means import UNIT
from toolkit.experiments.hesitation.interventions import MATCHED, RANDOM, Intervened
from toolkit.experiments.hesitation.measure import Measured
from toolkit.latents.behaviours import LEAST_MARGIN
from toolkit.statistics.estimates import Estimate, over_seeds
from toolkit.statistics.verdicts import Claim, Margin

LEAST_CUT = 0.6
"""Share of the adapter's hesitation that must be gone without the latents."""
LEAST_BEYOND = 0.3
"""By so much, as a share of the adapter's hesitation, the cut must exceed that of random and of matched latents."""
LARGEST_SHARE = 0.05
"""Largest share of all latents that hesitation latents may be."""
LARGEST_LOSS = 0.05
"""Loss of accuracy that the claim of no more errors must rule out."""
CONTROLS = {RANDOM: "random latents", MATCHED: "matched latents"}


def claims(found: Measured) -> list[Claim]:
    """Return the claims on all hesitation latents together; none where there are no such latents."""
    if "both" not in found.arms:
        return []
    off, added, transfer = (found.interventions[name] for name in ("off", "added", "transfer"))
    n = len(found.questions)
    made = [_needed(off, found, n)]
    if not off.unchanged.correct.isnan().all():
        loss = Margin(over="the adapter's accuracy", difference=off.change("correct", "both"), least=-LARGEST_LOSS)
        made.append(Claim(name="no more errors without them", effect=loss.difference, margins=(loss,), n=n))
    made.append(_beyond(added, found, "hesitation", "they make the hybrid hesitate", sign=1.0))
    made.append(_beyond(transfer, found, "length", "transferred, they shorten answers", sign=-1.0))
    if found.planted:
        together = found.planted.together
        floor = Margin(over="random directions", difference=together.margin, least=LEAST_MARGIN)
        name = "they tell planted self-reflection from other text"
        made.append(Claim(name=name, effect=together.auroc, margins=(floor,), n=found.planted.n_tokens))
    return made


def cut(off: Intervened, arm: str) -> Estimate:
    """How much less an arm hesitates than the adapter, as a share of the adapter's mean, which is taken as known."""
    return over_seeds(_cuts(off, arm), unit=UNIT)


def _cuts(off: Intervened, arm: str) -> Float[Tensor, "draw question"]:
    """By question, in units of the adapter's mean; NaN where the adapter never hesitates."""
    whole = float(off.unchanged.hesitation.mean())
    return (off.unchanged.hesitation - off.values("hesitation", arm)) / (whole or math.nan)


def _needed(off: Intervened, found: Measured, n: int) -> Claim:
    whole = float(off.unchanged.hesitation.mean()) or math.nan
    # The mean over questions of what is left over the allowed rest has the cut's own sign, and no ratio in it.
    kept = (1 - LEAST_CUT) * off.unchanged.hesitation - off.values("hesitation", "both")
    share = Estimate(LARGEST_SHARE - found.latents.share, error=0.0, freedom=math.inf)
    margins = (
        Margin(over=f"a cut of {LEAST_CUT:.0%}", difference=over_seeds(kept / whole, unit=UNIT)),
        *_over_controls(off, found, "hesitation", sign=-1.0, scale=whole, least=LEAST_BEYOND),
        Margin(over=f"at most {LARGEST_SHARE:.0%} of the latents", difference=share),
    )
    return Claim(name="the adapter's hesitation needs them", effect=cut(off, "both"), margins=margins, n=n)


def _beyond(done: Intervened, found: Measured, measure: str, name: str, *, sign: float) -> Claim:
    changes = done.values(measure, "both") - getattr(done.unchanged, measure)
    margins = (
        Margin(over="no latents", difference=over_seeds(sign * changes, unit=UNIT)),
        *_over_controls(done, found, measure, sign=sign),
    )
    return Claim(name=name, effect=done.change(measure, "both"), margins=margins, n=len(found.questions))


def _over_controls(
    done: Intervened, found: Measured, measure: str, *, sign: float, scale: float = 1.0, least: float = 0.0
) -> list[Margin]:
    """How far all hesitation latents exceed each control, question by question; not known of one that was left out."""
    made = []
    for arm, name in CONTROLS.items():
        if arm in done.arms:
            beyond = sign * (done.values(measure, "both") - done.values(measure, arm)) / scale
            difference = over_seeds(beyond, unit=UNIT)
        else:
            difference = Estimate(math.nan, note=found.left_out[arm])
        made.append(Margin(over=name, difference=difference, least=least))
    return made
