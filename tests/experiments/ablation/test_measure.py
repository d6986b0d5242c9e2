"""The whole study on a tiny pair: which text chooses, which tests, and what is compared with what."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from watching import Diary

from toolkit.experiments.ablation import AblationSettings, share_name
from toolkit.experiments.ablation.measure import ablation_study
from toolkit.experiments.ablation.study import ARMS, AblationStudy, CategoryAblation
from toolkit.geometry.decoder_norms import nrn
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.interventions.ablation import Arm, Effects, ReadTargets, ablation_effects
from toolkit.interventions.targets import OTHER, Targets
from toolkit.latents.categories import Category
from toolkit.latents.choices import Method
from toolkit.latents.firing import FiringCounts
from toolkit.latents.selection import Likeness, random_latents, select_latents
from toolkit.leaving_out import TooFewError
from toolkit.tracking import watched_by

WAIT = Category(name="wait", words=("w",), tokens=("w3", "w5"), token_ids=(3, 5))
BUT = Category(name="but", words=("w",), tokens=("w9",), token_ids=(9,))
SETTINGS = AblationSettings(
    shares=(0.05, 0.2),
    reference=0.2,
    undecided=(0.0, 1.0),
    targets=20,
    control_draws=3,
    min_nrn=0.4,
    least_lift=0.0,
    seed=3,
)


@pytest.fixture(scope="module")
def batches() -> list[TokenBatch]:
    """Even rows and odd rows of different first tokens."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for rows in (6, 5, 1):
        ids = torch.randint(1, 12, (rows, 40), generator=generator)
        ids[0::2, 0], ids[1::2, 0] = 30, 31
        made.append(TokenBatch(ids, torch.ones_like(ids)))
    return made


def mask() -> TokenMask:
    return TokenMask(special_ids=frozenset(), keep_position_0=False, outlier_factor=10.0)


@pytest.fixture(scope="module")
def study(tiny_pair, crosscoder, batches) -> AblationStudy:
    return study_of(tiny_pair, crosscoder, batches)


def study_of(pair, crosscoder, batches, settings=SETTINGS, lexicon=(WAIT, BUT)) -> AblationStudy:
    """With one crosscoder."""
    return ablation_study(pair, {0: crosscoder}, batches, mask(), list(lexicon), settings)


def categories_of(study: AblationStudy) -> list[CategoryAblation]:
    return list(study.own.categories.values())


def alone(pair, crosscoder, targets: Targets, latents: list[int], direction: int | None = None) -> Effects:
    arm = Arm(crosscoder=crosscoder, latents=torch.tensor(latents), direction=direction)
    return ablation_effects(pair, ReadTargets.read(pair, targets, "predict"), [arm], Method()).of(0)


def same(first: Effects, second: Effects) -> bool:
    return first.models == second.models and torch.allclose(first.values, second.values, rtol=1e-4, atol=1e-5)


def test_even_rows_choose_and_odd_rows_test(tiny_pair, crosscoder, batches, study):
    counts = FiringCounts([WAIT, BUT], 64)
    for batch in batches:
        ids = batch.input_ids[::2]
        where = torch.ones_like(ids, dtype=torch.bool)
        where[:, 0] = False
        counts.add(ids, where, crosscoder.encode(tiny_pair.residual(ids, torch.ones_like(ids))[where]))
    assert torch.equal(study.own.counts.fired, counts.fired)
    assert torch.equal(study.own.counts.counts["predicting"], counts.counts["predicting"])
    assert torch.equal(study.own.alive, counts.fired > 0)
    torch.testing.assert_close(study.own.nrn, nrn(crosscoder.W_dec))
    eligible = study.own.alive & (study.own.nrn > 0.4)
    assert 0 < eligible.sum() < 64
    for index, each in enumerate(categories_of(study)):
        assert all(prefix[0] == 31 for prefix in each.targets.prefixes)
        assert set(each.targets.target_ids.tolist()) <= set(each.category.token_ids)
        chosen = select_latents(
            counts, index, rule="lift", place="predicting", shares=SETTINGS.shares, eligible=eligible
        )
        assert each.latents == {share_name(share): latents.tolist() for share, latents in chosen.items()}


def test_twenty_targets_are_twenty_and_fewer_say_so(tiny_pair, crosscoder, batches, study):
    for each in categories_of(study):
        assert len(each.targets.prefixes) == 20 < each.targets.found or each.targets.found == len(each.targets.prefixes)
    assert categories_of(study)[0].targets.found > 20
    settings = replace(SETTINGS, targets=1000)
    every = study_of(tiny_pair, crosscoder, batches, settings)
    for each in categories_of(every):
        n = sum(int(torch.isin(b.input_ids[1::2, 2:], torch.tensor(each.category.token_ids)).sum()) for b in batches)
        assert each.targets.found == len(each.targets.prefixes) == n
        assert each["20 %", "chosen"]["base"].logit.shape == (n,)


def test_controls_are_draws_of_directions_like_latents_and_eligible_latents(tiny_pair, crosscoder, study):
    eligible = study.own.alive & (study.own.nrn > 0.4)
    for each in categories_of(study):
        mean_code = ReadTargets.read(tiny_pair, each.targets, "predict").predicting_codes(crosscoder).mean(dim=0)
        like = Likeness(mean_code=mean_code, nrn=study.own.nrn)
        generator = torch.Generator().manual_seed(3)
        for share, n in (("20 %", 3), ("5 %", 2)):  # the reference share first
            chosen = torch.tensor(each.latents[share])
            matched = [like.matched(chosen, study.own.alive, generator) for _ in range(n)]
            seeds = [int(torch.randint(2**31, (), generator=generator)) for _ in range(n)]
            random = [random_latents(chosen, eligible, generator) for _ in range(n)]
            draws = {
                "chosen": [(chosen.tolist(), None)],
                "directions": [(chosen.tolist(), seed) for seed in seeds],
                "matched": [(latents.tolist(), None) for latents in matched],
                "random": [(latents.tolist(), None) for latents in random],
            }
            for arm in ARMS:
                found = each.draws[share, arm]
                assert found.models == (("base", "distilled") if arm == "chosen" else ("distilled",))
                made = [alone(tiny_pair, crosscoder, each.targets, *draw).values for draw in draws[arm]]
                expected = torch.stack(made, dim=1)[:, :, -len(found.models) :]
                torch.testing.assert_close(found.values, expected, rtol=1e-3, atol=1e-5)
                torch.testing.assert_close(each[share, arm].values, found.values.mean(dim=1))
            assert each.matches[share] == like.match(chosen, matched)
            logit = each.draws[share, "random"]["distilled"].logit
            best = each.best(share, "random", "distilled")
            assert float(best.mean()) == pytest.approx(float(logit.mean(dim=1).min()))


def test_random_controls_obey_what_chosen_latents_obey(tiny_pair, crosscoder, batches, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "toolkit.experiments.ablation.arms.random_latents",
        lambda chosen, pool, generator: asked.append(pool) or random_latents(chosen, pool, generator),
    )
    study = study_of(tiny_pair, crosscoder, batches)
    assert all(torch.equal(pool, study.own.alive & (study.own.nrn > SETTINGS.min_nrn)) for pool in asked)
    assert len(asked) > 4


def test_off_target_is_the_same_edit_on_other_words(tiny_pair, crosscoder, study):
    assert set(study.own.off_target) == {(a, b) for a in ("wait", "but") for b in ("wait", "but", OTHER)}
    for each in categories_of(study):
        for name in ("wait", "but", OTHER):
            expected = alone(tiny_pair, crosscoder, study.words[name], each.latents["20 %"])
            assert same(study.own.off_target[each.category.name, name], expected)
        assert same(study.own.off_target[each.category.name, each.category.name], each["20 %", "chosen"])


def test_shares_that_choose_the_same_latents_cost_no_more(tiny_pair, crosscoder, batches):
    def passes(shares: tuple[float, ...]) -> int:
        done = []
        head = tiny_pair.base.model._module.lm_head
        hook = head.register_forward_hook(lambda *_: done.append(1))
        settings = replace(SETTINGS, shares=shares, reference=0.4, least_lift=1.1)
        study = study_of(tiny_pair, crosscoder, batches, settings, [WAIT])
        (each,) = categories_of(study)
        hook.remove()
        assert len({tuple(latents) for latents in each.latents.values()}) == 1
        assert all(same(each[share_name(share), "chosen"], each["40 %", "chosen"]) for share in shares)
        return len(done)

    assert passes((0.4, 0.5)) == passes((0.4,))


def test_every_crosscoder_is_measured_on_the_same_words_as_if_alone(
    tiny_pair, crosscoder, random_crosscoder, batches, monkeypatch
):
    other = random_crosscoder(seed=7, n_latents=64)
    read, words = [], ReadTargets.read
    monkeypatch.setattr(ReadTargets, "read", lambda *given: read.append(given) or words(*given))
    both = ablation_study(tiny_pair, {0: crosscoder, 7: other}, batches, mask(), [WAIT, BUT], SETTINGS)
    assert len(read) == 3  # once for each category's words, and once for others
    assert list(both.seeds) == [0, 7]
    for seed, each in ((0, crosscoder), (7, other)):
        expected = ablation_study(tiny_pair, {seed: each}, batches, mask(), [WAIT, BUT], SETTINGS)
        assert both.seeds[seed].off_target.keys() == expected.own.off_target.keys()
        for name, category in both.seeds[seed].categories.items():
            assert category.latents == expected.own.categories[name].latents
            assert torch.equal(category.targets.documents, expected.words[name].documents)
            assert torch.equal(category.targets.documents, both.words[name].documents)
            assert all(same(category[key], expected.own.categories[name][key]) for key in category.draws)


def test_a_crosscoder_without_latents_for_a_category_takes_nothing_out(tiny_pair, crosscoder, batches):
    blank = deepcopy(crosscoder)
    blank.W_dec[:, 1] = 0  # NRN 0
    study = ablation_study(tiny_pair, {0: crosscoder, 1: blank}, batches, mask(), [WAIT, BUT], SETTINGS)
    for name in ("wait", "but"):
        assert study.seeds[1].categories[name].latents == {"5 %": [], "20 %": []}
        assert not study.seeds[1].categories[name]["20 %", "chosen"]["distilled"].logit.any()
        assert "no eligible latent" in study.left_out[f"{name}, crosscoder 1"]
        assert study.left_out[f"{name}, crosscoder 1"].endswith("its effect is 0")
        own = float(study.own.categories[name]["20 %", "chosen"]["distilled"].logit.mean())
        assert study.effect(name, "20 %", "chosen", "distilled").value == pytest.approx(own / 2, rel=1e-5)


def test_a_category_that_cannot_be_measured_is_left_out_and_the_others_are_as_without_it(
    tiny_pair, crosscoder, batches, study
):
    odd = Category(name="odd", words=("odd",), tokens=(), token_ids=())
    absent = Category(name="absent", words=("w50",), tokens=("w50",), token_ids=(50,))
    found = study_of(tiny_pair, crosscoder, batches, SETTINGS, [odd, WAIT, absent, BUT])
    assert [each.category for each in categories_of(found)] == [WAIT, BUT]
    assert found.own.off_target.keys() == study.own.off_target.keys()
    for each, expected in zip(categories_of(found), categories_of(study), strict=True):
        assert all(same(each.draws[key], effects) for key, effects in expected.draws.items())
    assert "none of ' Odd', 'Odd', ' odd', 'odd' is a single token" in found.left_out["odd"]
    assert "absent: 0 positions where its words" in found.left_out["absent"]
    assert "at least two are needed: read more text" in found.left_out["absent"]


def test_no_latent_to_take_out_is_an_error_with_all_reasons(tiny_pair, crosscoder, batches):
    with pytest.raises(TooFewError, match=r"no eligible latent fired often enough on 'wait'.*; no eligible .*'but'"):
        study_of(tiny_pair, crosscoder, batches, replace(SETTINGS, min_nrn=1.0))


def test_a_share_that_leaves_no_controls_is_said_before_anything_is_measured(tiny_pair, crosscoder, batches):
    settings = replace(SETTINGS, shares=(0.2, 0.9), min_nrn=0.0, select="rate")
    with pytest.raises(
        TooFewError, match=r"\d+ latents are chosen, and only \d+ other eligible ones .* a smaller share"
    ):
        study_of(tiny_pair, crosscoder, batches, settings)


def test_no_category_at_all_is_an_error_with_all_reasons(tiny_pair, crosscoder, batches):
    settings = replace(SETTINGS, undecided=(0.9, 1.0))
    with pytest.raises(TooFewError, match=r"wait: 0 positions .*; but: 0 positions .*"):
        study_of(tiny_pair, crosscoder, batches, settings)


def test_the_same_seed_finds_the_same_and_what_is_done_is_counted(tiny_pair, crosscoder, batches, study):
    diary = Diary()
    with watched_by(diary):
        again = study_of(tiny_pair, crosscoder, batches)
    outermost = [each for each in diary.counts() if each[0] in ("counting firings", "looking for words")]
    assert outermost == [("counting firings", 3, 3), ("looking for words", 3, 3)]
    assert ("taking latents out", 3, 3) in diary.counts()  # two categories' words, and others
    assert all(done == total for _, done, total in diary.counts())
    other = study_of(tiny_pair, crosscoder, batches, replace(SETTINGS, seed=4))
    first, second, third = (categories_of(s)[0]["20 %", "random"] for s in (study, again, other))
    assert torch.equal(first.values, second.values)
    assert not torch.equal(first.values, third.values)


def test_latents_that_are_silent_where_words_are_predicted_have_no_match(tiny_pair, crosscoder, batches):
    """Chosen on the words themselves, they may be: the ratio of codes is then no number, and no crash."""
    text = torch.tensor([[30, *[1, 3] * 15]] * 2)
    read = tiny_pair.residual(text[:1], torch.ones_like(text[:1]))[0]
    before, on = read[1::2].mean(dim=0), read[2::2].mean(dim=0)
    direction = (on - before) / (on - before).square().sum()
    crosscoder = deepcopy(crosscoder)
    crosscoder.W_enc.zero_()
    crosscoder.b_enc.zero_()
    crosscoder.W_enc[0], crosscoder.b_enc[0] = 4 * direction, -4 * (((on + before) / 2) * direction).sum()
    crosscoder.b_enc[1:5] = 1.0
    crosscoder.W_dec[:2, 0] = 0
    settings = replace(SETTINGS, place="token", min_nrn=0.99)
    batch = TokenBatch(text, torch.ones_like(text))
    (each,) = categories_of(study_of(tiny_pair, crosscoder, [batch], settings, [WAIT]))
    assert each.latents == {"5 %": [0], "20 %": [0]}
    assert not each["20 %", "chosen"]["distilled"].logit.any()
    assert math.isnan(each.matches["20 %"].code_ratio)


def test_given_latents_are_taken_out_of_every_categorys_words(tiny_pair, crosscoder, batches, study):
    alive = study.own.alive.nonzero()[:2, 0].tolist()
    given = study_of(tiny_pair, crosscoder, batches, replace(SETTINGS, latents=tuple(alive)))
    for each in categories_of(given):
        assert each.latents == {"given": alive}
        assert same(each["given", "chosen"], alone(tiny_pair, crosscoder, each.targets, alive))
    with pytest.raises(
        ValueError, match=r"'chosen'\) was not measured: give \[share, arm\], of 'given' and of 'chosen'"
    ):
        _ = categories_of(given)[0]["2 %", "chosen"]
    with pytest.raises(ValueError, match="latent 64 does not exist"):
        study_of(tiny_pair, crosscoder, batches, replace(SETTINGS, latents=(64,)), [WAIT])


def test_settings_that_make_no_study_are_refused():
    with pytest.raises(ValueError, match=r"reference share 0.03 is not among the shares"):
        AblationSettings(reference=0.03)
    with pytest.raises(ValueError, match="targets 1: must be at least 2"):
        AblationSettings(targets=1)
    with pytest.raises(ValueError, match="control_draws 0: must be at least 1"):
        AblationSettings(control_draws=0)
