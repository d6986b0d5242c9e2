"""What the page claims of each category, and what its effect must exceed for that; written before measuring."""

from jaxtyping import Float
from torch import Tensor

from toolkit.experiments.ablation.study import AblationStudy, CategoryAblation, difference_of_means
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.verdicts import Claim, Margin

LEAST_FALL = 1.0
"""Logits by which a word must fall further in the distilled model than in base: its odds fall by another factor e."""
MOST_REMOVED = 0.5
"""Share of the stream's norm. An edit that takes out more leaves a stream of which no word could be predicted."""
CONTROL_NAMES = {
    "directions": "random directions as long",
    "matched": "draws of latents alike in code and NRN",
    "random": "draws of random eligible latents",
}


def claims(study: AblationStudy, share: str) -> list[Claim]:
    """One claim for each category: its latents, at that share, lower its words' logits in the last model.

    The fall must exceed base's fall by `LEAST_FALL`, the largest fall of other words, and the fall in the best draw of
    every control; and the edit must leave at least half of the stream's norm.
    """
    return [_claim(study, name, share) for name in study.names]


def _claim(study: AblationStudy, name: str, share: str) -> Claim:
    first = study.models[0]
    over_base = Margin(over=f"fall in {first}", difference=_over_model(study, name, share, first), least=LEAST_FALL)
    over_controls = [
        Margin(
            over=f"best of {best_of(study.own.categories[name], share, arm)} {CONTROL_NAMES[arm]}",
            difference=_over_control(study, name, share, arm),
        )
        for arm in binding(study, name, share)
    ]
    left = study.rows(lambda one: MOST_REMOVED - one.categories[name][share, "chosen"][study.last].removed)
    whole = Margin(over=f"share of the stream taken out, below {MOST_REMOVED:g}", difference=study.estimate(left, name))
    return Claim(
        name=f"{name} words fall",
        effect=study.effect(name, share, "chosen", study.last),
        margins=(over_base, over_off_target(study, name, share), *over_controls, whole),
        n=len(study.words[name].prefixes),
    )


def binding(study: AblationStudy, name: str, share: str) -> list[str]:
    """The controls that the claim must exceed: matched latents only where they are alike with every crosscoder."""
    of_each = [one.categories[name] for one in study.seeds.values()]
    alike = all(each.matches[share].alike for each in of_each if each.latents[share])
    return ["directions", *(["matched"] if alike else []), "random"]


def best_of(each: CategoryAblation, share: str, arm: str) -> int:
    """How many draws the best one is the best of."""
    return each.draws[share, arm].values.shape[1]


def over_off_target(study: AblationStudy, name: str, share: str) -> Margin:
    """The fall of the category's words less the largest fall of other words under the same edit.

    Taking the largest, which is partly the largest by chance, speaks against the claim.
    """
    others = study.elsewhere(name)
    if not others:
        return Margin(over="fall of other words", difference=Estimate(float("nan"), note="no other words were found"))
    largest = min(others, key=lambda on: study.off_target(name, on, study.last).value)
    own, other = (study.rows(lambda one, on=on: -one.off_target[name, on][study.last].logit) for on in (name, largest))
    groups = (study.words[on].documents for on in (name, largest))
    difference = difference_of_means(own, next(groups), other, next(groups))
    return Margin(over=f"fall of {_words(largest)}", difference=study.given(difference))


def _words(name: str) -> str:
    return name if name.endswith("words") else f"{name} words"


def _over_model(study: AblationStudy, name: str, share: str, model: str) -> Estimate:
    return study.estimate(_fall(study, name, share, study.last) - _fall(study, name, share, model), name)


def _over_control(study: AblationStudy, name: str, share: str, arm: str) -> Estimate:
    best = study.rows(lambda one: -one.categories[name].best(share, arm, study.last))
    return study.estimate(_fall(study, name, share, study.last) - best, name)


def _fall(study: AblationStudy, name: str, share: str, model: str) -> Float[Tensor, "seed target"]:
    return study.rows(lambda one: -one.categories[name][share, "chosen"][model].logit)
