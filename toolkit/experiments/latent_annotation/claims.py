"""What the page claims of labels; it was written before anything was measured."""

from toolkit.annotation.trials import TESTS
from toolkit.experiments.latent_annotation.results import Annotated
from toolkit.statistics.estimates import given_one
from toolkit.statistics.verdicts import Claim, Margin

RANDOM, SHUFFLED = "another latent's explanation", "shuffled labels"


def claims(found: Annotated) -> list[Claim]:
    """Explanations predict more than both controls do, in either test; and the distilled side is for reasoning."""
    scored = [
        Claim(
            name=f"{test}: explanations tell where latents fire better than both controls",
            effect=given_one(compared.own),
            margins=(
                Margin(over=RANDOM, difference=given_one(compared.over_random)),
                Margin(over=SHUFFLED, difference=given_one(compared.over_shuffled)),
            ),
            n=compared.n,
        )
        for test in TESTS
        if (compared := found.scores.comparisons[test]).n
    ]
    return [*scored, *found.enrichment.claims()]
