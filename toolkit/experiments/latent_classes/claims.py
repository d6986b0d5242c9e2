"""What the page claims of the pair, and what it must exceed for that; written before anything was measured."""

from toolkit.experiments.latent_classes.measure import LatentClassesResult
from toolkit.experiments.latent_classes.seeds import BothPairs, Measure
from toolkit.latents.behaviours import behaviour_claims
from toolkit.latents.classification import tags_of
from toolkit.statistics.seeds import difference_of_seeds, mean_of_seeds
from toolkit.statistics.verdicts import Claim, Margin

LEAST_LEAN = 0.01
"""In NRN: a smaller lean says nothing of what distillation did, however sure it is."""
LEAST_SHARE = 0.01
"""Of the dictionary's latents: by how many more of them one pair must exceed the other."""
NULL_PAIR = "between base and control"


def page_claims(found: LatentClassesResult) -> list[Claim]:
    """All that is judged together: what is claimed of the pair, and of the latents that find labels."""
    return claims(found.pairs) + behaviour_claims(found.behaviours)


def claims(pairs: BothPairs) -> list[Claim]:
    """What is claimed of the pair over the null pair, over seeds; nothing where there is no null pair.

    A lean must differ from neutral, and from the null pair's lean; numbers of latents must exceed the null pair's.
    """
    if not pairs.null:
        return []
    first, last = pairs.models
    last_only = tags_of(first, last)[2]
    return [
        _lean(pairs, last, lambda each: each.lean),
        _lean(pairs, first, lambda each: -each.lean),
        _more(pairs, f"more {last_only} latents than {NULL_PAIR}", lambda each: each.count(last_only)),
        _more(pairs, f"more {last_only} latents that survive ν", lambda each: each.survivors(last_only)),
    ]


def _lean(pairs: BothPairs, model: str, lean: Measure) -> Claim:
    own, null = pairs.numbers(lean)
    effect = mean_of_seeds(own)
    beyond_neutral = Margin(over="neutral point", difference=effect, least=LEAST_LEAN)
    beyond_null = Margin(over=f"lean {NULL_PAIR}", difference=difference_of_seeds(own, null))
    name, n = f"latents lean toward {model}", len(own) + len(null)
    return Claim(name=name, effect=effect, margins=(beyond_neutral, beyond_null), n=n)


def _more(pairs: BothPairs, name: str, number: Measure) -> Claim:
    own, null = pairs.numbers(number)
    least = LEAST_SHARE * len(pairs.own.classes.nrn)
    margin = Margin(over=f"as many {NULL_PAIR}", difference=difference_of_seeds(own, null), least=least)
    return Claim(name=name, effect=mean_of_seeds(own), margins=(margin,), n=len(own) + len(null))
