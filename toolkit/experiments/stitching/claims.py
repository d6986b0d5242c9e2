"""What the page claims of the middle cut, in KL(receiver ‖ stitched).

Claims were first written in excess cross-entropy. Trials showed that it misleads where the receiver cannot predict the
text: base reads the embedded pair's text at 10.95 nats a token, and predicts it better from a stream that is brought
over badly. So all were restated in KL, with margins and their least differences as they were.
"""

from collections.abc import Iterator

from toolkit.experiments.stitching.study import (
    BASE_TO_CONTROL,
    BASE_TO_DISTILLED,
    DISTILLED_TO_BASE,
    IDENTITY,
    MEAN_SHIFT,
    RIDGE,
    StitchedCut,
    StitchingStudy,
)
from toolkit.statistics.verdicts import Claim, Margin
from toolkit.stitching.position_kinds import HESITATION, THINKING

SHARE = 0.5
"""What a ridge may cost, as a share of what the mean shift costs, where it is claimed to cost far less."""


def claims(study: StitchingStudy) -> list[Claim]:
    """Return all claims that can be made of the maps and models that were measured."""
    made = [each for name in (BASE_TO_DISTILLED, DISTILLED_TO_BASE) for each in _map_claims(study.at_middle(name))]
    forward = study.at_middle(BASE_TO_DISTILLED)
    if RIDGE not in forward.maps:
        return made
    control = study.at_middle(BASE_TO_CONTROL) if BASE_TO_CONTROL in study.directions else None
    if control is not None and control.tokens.equal(forward.tokens):
        made.append(
            Claim(
                name="the distilled rest loses more with base's front than a control's rest does, by a ridge",
                effect=forward.cost(RIDGE),
                margins=(Margin(over="what the control's rest loses", difference=forward.beyond(control, RIDGE)),),
                n=forward.n(),
            )
        )
    if forward.n(HESITATION) and forward.n(THINKING):
        made.append(_hesitation_claim(study, forward, control))
    return made


def _map_claims(cut: StitchedCut) -> Iterator[Claim]:
    """A mean shift costs less than the identity, and a ridge far less than a mean shift."""
    joined = f"{cut.front} → {cut.rest}"
    if {IDENTITY, MEAN_SHIFT} <= cut.maps.keys():
        yield Claim(
            name=f"{joined}: the mean shift costs less than the identity",
            effect=cut.cost(MEAN_SHIFT),
            margins=(Margin(over="mean shift, by the identity", difference=cut.more(IDENTITY, MEAN_SHIFT)),),
            n=cut.n(),
        )
    if {MEAN_SHIFT, RIDGE} <= cut.maps.keys():
        saved = cut.more(RIDGE, MEAN_SHIFT, share=SHARE).reflected()
        yield Claim(
            name=f"{joined}: a ridge costs less than {SHARE:g} × what the mean shift costs",
            effect=cut.cost(RIDGE),
            margins=(Margin(over=f"ridge, by {SHARE:g} × mean shift", difference=saved),),
            n=cut.n(),
        )


def _hesitation_claim(study: StitchingStudy, forward: StitchedCut, control: StitchedCut | None) -> Claim:
    """Base's stream lacks what decides that a word of hesitation comes next, more than what decides other thoughts."""
    apart = forward.kinds_apart(RIDGE, HESITATION, THINKING)
    others = {"distilled → base": study.at_middle(DISTILLED_TO_BASE)}
    others |= {} if control is None else {"base → control": control}
    margins = {"other words of the thinking": apart} | {
        f"the same difference of {name}": apart - each.kinds_apart(RIDGE, HESITATION, THINKING)
        for name, each in others.items()
        if each.n(HESITATION) and each.tokens.equal(forward.tokens)
    }
    return Claim(
        name=f"{forward.front} → {forward.rest}: words of hesitation cost more than other thinking, by a ridge",
        effect=forward.cost(RIDGE, HESITATION),
        margins=tuple(Margin(over=over, difference=each.estimate) for over, each in margins.items()),
        n=forward.n(HESITATION),
    )
