import math

import pytest
import torch
from torch import Tensor

from toolkit.latents.categories import Category
from toolkit.latents.firing import FiringCounts
from toolkit.latents.selection import (
    LEAST_FIRINGS,
    NEAREST,
    Likeness,
    Match,
    random_latents,
    select_latents,
    specific_latents,
)

LATENTS, TOKENS = 60, 400
WAIT = Category(name="wait", words=("Wait",), tokens=("Wait",), token_ids=(1,))


@pytest.fixture(scope="module")
def counts() -> FiringCounts:
    """Latents of all frequencies; the last ten are dead."""
    generator = torch.Generator().manual_seed(0)
    made = FiringCounts([WAIT], LATENTS)
    frequency = torch.rand(LATENTS, generator=generator) ** 2
    frequency[-10:] = 0
    codes = (torch.rand(TOKENS, LATENTS, generator=generator) < frequency).float()
    ids = torch.randint(8, (1, TOKENS), generator=generator)
    made.add(ids, torch.ones_like(ids, dtype=torch.bool), codes)
    return made


@pytest.fixture(scope="module")
def eligible() -> Tensor:
    return torch.rand(LATENTS, generator=torch.Generator().manual_seed(1)) < 0.7


def select(counts: FiringCounts, eligible: Tensor, rule: str, share: float) -> list[int]:
    chosen = select_latents(counts, 0, rule=rule, place="token", shares=[0.2, share], eligible=eligible)
    return chosen[share].tolist()


@pytest.mark.parametrize("share", [0.005, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("rule", ["lift", "rate"])
def test_the_top_share_of_alive_latents(counts, eligible, rule, share):
    hits, n = counts.counts["token"][0].tolist(), int(counts.n["token"][0])
    alive = [k for k in range(LATENTS) if counts.fired[k] > 0]
    score = {k: hits[k] / n / (1 if rule == "rate" else float(counts.fired[k]) / TOKENS) for k in alive}
    enough = [k for k in alive if eligible[k] and hits[k] >= LEAST_FIRINGS]
    wanted = sorted(enough, key=lambda k: -score[k])[: max(1, round(share * len(alive)))]
    chosen = select(counts, eligible, rule, share)
    assert [score[k] for k in chosen] == pytest.approx([score[k] for k in wanted])
    assert set(chosen) <= set(enough)
    assert len(chosen) == len(wanted) == len(set(chosen))
    assert len(enough) < len(alive)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 1.0])
def test_the_papers_rule_takes_counts_from_a_quantile_on(counts, eligible, share):
    hits = counts.counts["token"][0].tolist()
    fired = sorted(count for count in hits if count > 0)
    at = (1 - share) * (len(fired) - 1)
    low, high = fired[math.floor(at)], fired[math.ceil(at)]
    edge = low + (high - low) * (at - math.floor(at))
    chosen = select(counts, eligible, "quantile", share)
    assert set(chosen) == {k for k in range(LATENTS) if eligible[k] and hits[k] > 0 and hits[k] >= edge - 1e-4}
    assert [hits[k] for k in chosen] == sorted((hits[k] for k in chosen), reverse=True)


def test_a_lift_from_few_firings_counts_for_nothing(eligible):
    counts = FiringCounts([WAIT], 2)
    ids = torch.tensor([[1] * 6 + [2] * 94])
    codes = torch.zeros(100, 2)
    codes[: LEAST_FIRINGS - 1, 0] = 1  # fires on the category alone, but seldom
    codes[:50, 1] = 1
    counts.add(ids, torch.ones_like(ids, dtype=torch.bool), codes)
    assert counts.lift("token")[0, 0] > 5 * counts.lift("token")[0, 1]
    assert select(counts, torch.ones(2, dtype=torch.bool), "lift", 1.0) == [1]


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, math.nan])
def test_a_share_is_a_share(counts, eligible, share):
    with pytest.raises(ValueError, match=f"share {share} of the latents"):
        select(counts, eligible, "lift", share)


@pytest.mark.parametrize("rule", ["lift", "rate", "quantile"])
def test_no_latent_is_an_error_that_says_why(counts, rule):
    with pytest.raises(ValueError, match=r"no eligible latent fired often enough on 'wait', which has \d+ tokens"):
        select(counts, torch.zeros(LATENTS, dtype=torch.bool), rule, 0.1)
    silent = FiringCounts([WAIT], LATENTS)
    with pytest.raises(ValueError, match="'wait', which has 0 tokens"):
        select(silent, torch.ones(LATENTS, dtype=torch.bool), rule, 0.1)


def test_random_controls_are_alive_others_and_follow_the_generator(counts):
    alive, chosen = counts.fired > 0, torch.tensor([3, 7, 20, 31])
    drawn = [random_latents(chosen, alive, torch.Generator().manual_seed(seed)) for seed in range(200)]
    for control in drawn:
        assert len(set(control.tolist())) == len(chosen)
        assert alive[control].all()
        assert not set(control.tolist()) & set(chosen.tolist())
    assert set(torch.cat(drawn).tolist()) == set(alive.nonzero()[:, 0].tolist()) - set(chosen.tolist())
    assert torch.equal(drawn[5], random_latents(chosen, alive, torch.Generator().manual_seed(5)))
    half, others = alive.nonzero()[:, 0].chunk(2)
    assert sorted(random_latents(half, alive, torch.Generator()).tolist()) == others.tolist()


def test_a_matched_control_is_near_in_mean_code_and_nrn(counts):
    alive, chosen = counts.fired > 0, torch.tensor([2, 11, 30, 41])
    generator = torch.Generator().manual_seed(2)
    mean_code, nrn = torch.rand(LATENTS, generator=generator) ** 4, torch.rand(LATENTS, generator=generator)
    like, sampled = Likeness(mean_code=mean_code, nrn=nrn), set()
    for seed in range(50):
        control = like.matched(chosen, alive, torch.Generator().manual_seed(seed)).tolist()
        sampled.add(tuple(control))
        pool = [k for k in range(LATENTS) if alive[k] and k not in chosen]
        for latent, taken in zip(sorted(chosen.tolist(), key=lambda k: -mean_code[k]), control, strict=True):
            distance = {
                other: abs(float(mean_code[other] / mean_code[latent] - 1)) + abs(float(nrn[other] - nrn[latent]))
                for other in pool
            }
            assert distance[taken] <= sorted(distance.values())[NEAREST - 1] + 1e-5
            pool.remove(taken)
    assert len(sampled) > 1
    few = torch.zeros(LATENTS, dtype=torch.bool)
    few[[2, 12]] = True
    assert like.matched(chosen[:1], few, torch.Generator()).tolist() == [12]


def test_of_latents_with_equal_codes_the_matched_one_has_the_like_nrn():
    nrn = torch.tensor([0.9, 0.1, 0.2, 0.3, 0.85, 0.95, 0.88])
    like, pool = Likeness(mean_code=torch.ones(7), nrn=nrn), torch.ones(7, dtype=torch.bool)
    drawn = {int(like.matched(torch.tensor([0]), pool, torch.Generator().manual_seed(s))) for s in range(40)}
    assert drawn == {4, 5, 6}


def test_how_well_a_control_matches_is_measured():
    like = Likeness(mean_code=torch.tensor([1.0, 2.0, 0.5, 1.0, 0.0]), nrn=torch.tensor([0.9, 0.7, 0.6, 0.4, 0.5]))
    chosen, draws = torch.tensor([0, 1]), [torch.tensor([2, 3]), torch.tensor([2, 4])]
    match = like.match(chosen, draws)
    assert match.code_ratio == pytest.approx(1.0 / 3)  # (1.5 + .5) / 2 over 3
    assert match.nrn_difference == pytest.approx((0.6 + 0.4 + 0.6 + 0.5) / 4 - 0.8)
    assert not match.alike
    assert Match(code_ratio=0.81, nrn_difference=0.09).alike
    assert not Match(code_ratio=0.79, nrn_difference=0.0).alike
    assert not Match(code_ratio=1.0, nrn_difference=-0.11).alike
    silent = like.match(torch.tensor([4]), [torch.tensor([0])])
    assert math.isnan(silent.code_ratio)
    assert not silent.alike


@pytest.mark.parametrize("rule", ["lift", "rate"])
def test_a_share_is_not_filled_with_latents_that_hardly_prefer_the_category(counts, eligible, rule):
    lift = counts.lift("token")[0]
    options = {"rule": rule, "place": "token", "shares": [1.0], "eligible": eligible}
    every, best = (select_latents(counts, 0, **options, least_lift=least)[1.0] for least in (0.0, 1.2))
    assert 0 < len(best) < len(every)
    assert lift[every].min() < 1.2 <= lift[best].min()
    assert best.tolist() == [k for k in every.tolist() if lift[k] >= 1.2]
    with pytest.raises(ValueError, match=r"no eligible latent fired often enough on 'wait'.* or least_lift"):
        select_latents(counts, 0, **options, least_lift=1e6)
    quantile = options | {"rule": "quantile"}
    unlimited, limited = (select_latents(counts, 0, **quantile, least_lift=least)[1.0] for least in (0.0, 1e6))
    assert torch.equal(unlimited, limited)


def test_controls_of_fewer_latents_than_were_chosen_are_refused():
    alive = torch.arange(8) < 5
    mean_code, chosen = torch.rand(8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 4])
    said = "3 latents are chosen, and only 2 other eligible ones are left to control for them: choose a smaller share"
    with pytest.raises(ValueError, match=said):
        random_latents(chosen, alive, torch.Generator())
    with pytest.raises(ValueError, match=said):
        Likeness(mean_code=mean_code, nrn=mean_code).matched(chosen, alive, torch.Generator())


def category(token_id: int) -> Category:
    return Category(name=f"c{token_id}", words=("w",), tokens=("w",), token_ids=(token_id,))


def count(rates: list[list[float]], *, categories: int = 3) -> FiringCounts:
    """Counts over rows of 100 pairs (word of no category, word), one a category; latent fires on the pair's first.

    `rates` holds a latent's share of firing before the words of each category.
    """
    counts = FiringCounts([category(token_id) for token_id in range(1, categories + 1)], len(rates))
    ids = torch.zeros(categories, 200, dtype=torch.long)
    codes = torch.zeros(categories, 200, len(rates))
    for row in range(categories):
        ids[row, 1::2] = row + 1
        for latent, rate in enumerate(rates):
            codes[row, 0 : 2 * round(100 * rate[row]) : 2, latent] = 1
    counts.add(ids, torch.ones_like(ids, dtype=torch.bool), codes.flatten(0, 1))
    return counts


def test_the_specific_latent_that_fires_on_most_is_found():
    rates = [
        [0.30, 0.11, 0.00],  # 2.7 times as often: not specific
        [0.30, 0.10, 0.10],  # 3 times
        [0.60, 0.00, 0.20],  # 3 times, and on more of them
        [0.04, 0.00, 0.00],  # too seldom
        [0.00, 0.00, 0.00],  # dead
        [0.00, 0.05, 0.00],
    ]
    found = specific_latents(count(rates))
    assert [(each.category, each.place, each.n, each.latent) for each in found] == [
        ("c1", "predicting", 2, 2),
        ("c2", "predicting", 1, 5),
    ]
    best = found[0]
    frequency = (0.6 + 0.2) / 6  # half of all tokens are predicted words
    assert best.rate == pytest.approx(0.6)
    assert best.lift == pytest.approx(0.6 / frequency)
    assert best.other_lift == pytest.approx(0.2 / frequency)


def test_few_firings_are_no_evidence():
    counts = FiringCounts([category(1), category(2)], 2)
    ids = torch.tensor([[1] * 8 + [2] * 8])
    codes = torch.zeros(16, 2)
    codes[:4, 0] = codes[8:13, 1] = 1  # on 4 of the first category's words, on 5 of the second's
    counts.add(ids, torch.ones_like(ids, dtype=torch.bool), codes)
    assert [(each.category, each.latent) for each in specific_latents(counts) if each.place == "token"] == [("c2", 1)]


def test_firing_on_the_word_is_told_from_firing_before_it():
    counts = FiringCounts([category(1), category(2)], 2)
    ids = torch.tensor([[0, 1, 0, 2] * 10])
    codes = torch.zeros(40, 2)
    codes[1::4, 0] = 1  # on the first category's words
    codes[2::4, 1] = 1  # before the second's
    counts.add(ids, torch.ones_like(ids, dtype=torch.bool), codes)
    assert [(each.category, each.place, each.latent) for each in specific_latents(counts)] == [
        ("c2", "predicting", 1),
        ("c1", "token", 0),
    ]


def test_one_category_has_no_others():
    with pytest.raises(ValueError, match="one category alone"):
        specific_latents(count([[0.5]], categories=1))
