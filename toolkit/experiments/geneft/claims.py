"""What the page claims, written before anything is measured."""

from toolkit.experiments.geneft.measure import DESCENT, GenEFT
from toolkit.statistics.shares import difference_of_shares
from toolkit.statistics.verdicts import Claim, Margin

LEAST_AGREEMENT = 0.2
"""By so much, as a share of the draws, the sign must tell more than the sign of another draw."""
LEAST_GAIN = 0.05
"""In test accuracy: a smaller gain of fast encoders would be of no use."""


def claims(found: GenEFT) -> list[Claim]:
    """That the sign predicts what gradient descent does, and that fast encoders generalise better."""
    repons = found.repons
    n = len(repons.shuffled)
    ours, control = int(repons.agrees(DESCENT).sum()), int(repons.shuffled.sum())
    return [
        Claim(
            name="the sign tells whether repons meet",
            effect=repons.agreement[DESCENT],
            margins=(
                Margin(
                    over="the sign of another draw",
                    difference=difference_of_shares((ours, n), (control, n)),
                    least=LEAST_AGREEMENT,
                ),
            ),
            n=n,
        ),
        Claim(
            name="the graph is better learnt where the encoder's rate is larger than the decoder's",
            effect=found.gain_of_fast_encoders,
            margins=(Margin(over="the reverse", difference=found.gain_of_fast_encoders, least=LEAST_GAIN),),
            n=len(found.by_rates[0].accuracies),
        ),
    ]
