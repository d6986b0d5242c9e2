"""What a category's fall must exceed, on made studies of which the truth is known."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.experiments.ablation.claims import LEAST_FALL, binding, claims
from toolkit.experiments.ablation.study import (
    CONTROLS,
    AblationStudy,
    CategoryAblation,
    DictionaryAblation,
    difference_of_means,
)
from toolkit.interventions.ablation import Effects
from toolkit.interventions.targets import Targets
from toolkit.latents.categories import Category
from toolkit.latents.firing import FiringCounts
from toolkit.latents.selection import Match
from toolkit.statistics.estimates import GIVEN_ONE, Estimate, over_seeds
from toolkit.statistics.verdicts import judge

MODELS = ("base", "distilled")
SHARE = "2 %"
WORDS = ("wait", "but")
ALIKE = Match(code_ratio=1.0, nrn_difference=0.0)


def targets(n: int = 60, documents: int = 30) -> Targets:
    return Targets(
        prefixes=tuple(torch.zeros(3, dtype=torch.long) for _ in range(n)),
        target_ids=torch.zeros(n, dtype=torch.long),
        documents=torch.arange(n) % documents,
        found=n,
    )


def effects(base: float, distilled: Sequence[float], *, removed: float, n: int, generator: torch.Generator) -> Effects:
    """Draws of these mean changes of the logit, half a logit of noise at each word."""
    values = torch.zeros(5, len(distilled), 2, n)
    noise = 0.5 * torch.randn(2, n, generator=generator)
    values[0, :, 0] = base + noise[0]
    values[0, :, 1] = torch.tensor(list(distilled))[:, None] + noise[1]
    values[4] = removed + 0.02 * torch.randn(2, n, generator=generator)
    return Effects(models=MODELS, values=values)


def made(
    *,
    falls: Sequence[float] = (4.0, 4.1, 3.9),
    base: float = 0.3,
    elsewhere: float = 0.5,
    controls: Sequence[float] = (0.1, 0.6, 0.2),
    removed: float = 0.2,
    match: Match = ALIKE,
    words: Targets | None = None,
) -> AblationStudy:
    """Two categories in crosscoders that see them fall by `falls`; `elsewhere` is the fall of the other's words."""
    generator, words = torch.Generator().manual_seed(0), words or targets()
    n = len(words.prefixes)

    def drawn(distilled: Sequence[float]) -> Effects:
        return effects(-base, distilled, removed=removed, n=n, generator=generator)

    def one(fall: float) -> DictionaryAblation:
        of_words = {
            name: CategoryAblation(
                category=Category(name=name, words=(name,), tokens=(name,), token_ids=(0,)),
                targets=words,
                latents={SHARE: [1, 2]},
                draws={(SHARE, "chosen"): drawn([-fall])}
                | {(SHARE, arm): drawn([-control for control in controls]) for arm in CONTROLS},
                matches={SHARE: match},
            )
            for name in WORDS
        }
        return DictionaryAblation(
            categories=of_words,
            off_target={
                (edited, on): of_words[on][SHARE, "chosen"] if edited == on else drawn([-elsewhere]).mean()
                for edited in WORDS
                for on in WORDS
            },
            counts=FiringCounts((), 4),
            alive=torch.ones(4, dtype=torch.bool),
            nrn=torch.full((4,), 0.7),
        )

    seeds = {seed: one(fall) for seed, fall in enumerate(falls)}
    return AblationStudy(models=MODELS, seeds=seeds, words=dict.fromkeys(WORDS, words), left_out={})


def shown(study: AblationStudy) -> list[bool]:
    return [verdict.shows for verdict in judge(claims(study, SHARE))]


def least_certain(study: AblationStudy) -> set[str]:
    """What each claim exceeds least."""
    return {max(claim.margins, key=lambda m: m.difference.p_above(m.least)).over for claim in claims(study, SHARE)}


def test_an_effect_that_exceeds_everything_shows():
    assert shown(made()) == [True, True]


@pytest.mark.parametrize(
    ("change", "over"),
    [
        ({"base": 3.9}, "fall in base"),
        ({"base": 4.0 - LEAST_FALL}, "fall in base"),
        ({"elsewhere": 4.0}, "fall of "),
        ({"controls": (0.1, 4.0, 0.2)}, "best of 3 "),
        ({"removed": 0.9}, "share of the stream taken out, below 0.5"),
        ({"falls": (3.9, 4.2, 1.4)}, ""),  # crosscoders disagree
        ({"words": targets(n=60, documents=7)}, ""),
        ({"words": targets(n=18, documents=18)}, ""),
    ],
)
def test_one_thing_that_is_not_exceeded_is_enough_for_no_claim(change: dict[str, Any], over: str):
    study = made(**change)
    assert shown(study) == [False, False]
    assert all(each.startswith(over) for each in least_certain(study))


def test_two_categories_with_the_same_latents_cannot_both_show():
    study = made()
    for one in study.seeds.values():
        for edited, on in list(one.off_target):  # the same edit: what it does to words does not depend on its name
            one.off_target[edited, on] = one.categories[on][SHARE, "chosen"]
    assert sum(shown(study)) <= 1
    but = {1: -6.0}  # words of the second category fall further, under either name
    for one in study.seeds.values():
        for edited in WORDS:
            one.off_target[edited, "but"].values[0, 1] += but[1]
    assert [
        m.difference.value > 0 for c in claims(study, SHARE) for m in c.margins if m.over.startswith("fall of")
    ] == [
        False,
        True,
    ]


def test_an_edit_that_removes_the_whole_stream_does_not_show():
    study = made(removed=1.0, falls=(16.6, 16.5, 16.7), elsewhere=14.0, base=13.3)
    assert shown(study) == [False, False]
    assert least_certain(study) == {"share of the stream taken out, below 0.5"}


def test_crosscoders_that_disagree_widen_the_interval():
    agree, disagree = (
        made(falls=falls).effect("wait", SHARE, "chosen", "distilled")
        for falls in ((3.15, 3.15, 3.15), (3.87, 4.23, 1.35))
    )
    assert disagree.value == pytest.approx(agree.value, abs=0.1)
    assert disagree.low < -3.87
    assert disagree.high > -1.35
    assert agree.high - agree.low < 0.6
    assert not disagree.note


def test_one_crosscoder_alone_is_said():
    study = made(falls=(4.0,))
    estimate = study.effect("wait", SHARE, "chosen", "distilled")
    assert estimate.low is not None
    assert estimate.note == GIVEN_ONE
    assert study.off_target("wait", "but", "distilled").note == GIVEN_ONE
    for claim in claims(study, SHARE):
        assert all(margin.difference.note == GIVEN_ONE for margin in claim.margins)


def test_the_draws_of_a_control_are_in_its_interval():
    narrow, wide = (made(falls=(4.0,), controls=controls) for controls in ((1.0, 1.0, 1.0), (0.2, 1.0, 1.8)))
    same, differing = (study.effect("wait", SHARE, "random", "distilled") for study in (narrow, wide))
    assert differing.value == pytest.approx(same.value, abs=0.1)
    assert differing.high - differing.low > 4 * (same.high - same.low)


def test_the_claim_must_exceed_the_best_draw_not_the_mean_one():
    study = made(controls=(0.0, 0.0, 3.0))
    (margin,) = (m for m in claims(study, SHARE)[0].margins if "random directions" in m.over)
    assert margin.over == "best of 3 random directions as long"
    assert margin.difference.value == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    "match", [Match(code_ratio=0.22, nrn_difference=0.0), Match(code_ratio=1.0, nrn_difference=-0.2)]
)
def test_a_control_that_cannot_be_matched_does_not_count(match: Match):
    study = made(match=match)
    assert binding(study, "wait", SHARE) == ["directions", "random"]
    assert not any("alike" in margin.over for margin in claims(study, SHARE)[0].margins)
    assert "matched" in binding(made(), "wait", SHARE)


def test_a_crosscoder_without_latents_has_no_match_to_judge():
    study = made()
    one = study.seeds[2].categories["wait"]
    without = replace(one, latents={SHARE: []}, matches={SHARE: Match(code_ratio=float("nan"), nrn_difference=0.0)})
    study.seeds[2].categories["wait"] = without
    assert "matched" in binding(study, "wait", SHARE)


def test_without_other_words_nothing_is_claimed():
    study = made()
    for one in study.seeds.values():
        del one.categories["but"]
    alone = replace(study, words={"wait": study.words["wait"]})
    (margin,) = (m for m in claims(alone, SHARE)[0].margins if m.over == "fall of other words")
    assert margin.difference.note == "no other words were found"
    assert margin.difference.p_above(0.0) == 1.0


def of_documents(generator: torch.Generator, n: int, shared: Tensor) -> tuple[Tensor, Tensor]:
    documents = torch.randint(len(shared), (n,), generator=generator)
    return shared[documents] + 0.1 * torch.randn(1, n, generator=generator), documents


def test_a_difference_of_means_is_paired_by_document():
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(40, generator=generator)
    first, second = of_documents(generator, 200, shared), of_documents(generator, 200, shared)
    found = difference_of_means(*first, *second)
    assert found.value == pytest.approx(float(first[0].mean() - second[0].mean()), abs=1e-6)
    one, other = (over_seeds(*each) for each in (first, second))
    assert isinstance(found, Estimate)
    assert found.error < 0.7 * (one.error**2 + other.error**2) ** 0.5
    apart = difference_of_means(first[0], first[1], second[0], second[1] + 40)
    assert apart.error == pytest.approx((one.error**2 + other.error**2) ** 0.5, rel=0.05)


def test_a_difference_of_the_same_samples_is_their_mean_difference():
    generator = torch.Generator().manual_seed(1)
    values, groups = torch.randn(3, 90, generator=generator), torch.arange(90) % 30
    other = values + torch.randn(3, 90, generator=generator) + 1
    found, paired = difference_of_means(values, groups, other, groups), over_seeds(values - other, groups)
    assert found.value == pytest.approx(paired.value)
    assert found.error == pytest.approx(paired.error, rel=1e-6)
    assert found.freedom == pytest.approx(paired.freedom, rel=1e-6)


def test_a_difference_has_no_interval_where_one_side_has_none():
    few = torch.randn(1, 30, generator=torch.Generator().manual_seed(0))
    found = difference_of_means(few, torch.arange(30) % 7, few, torch.arange(30))
    assert found.low is None
    assert found.note == "7 documents: an interval needs 8"
