"""The whole study on a tiny pair: which text chooses, which tests, and what is compared with what."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from watching import Diary

from toolkit.experiments.ablation import AblationSettings, share_name
from toolkit.experiments.ablation.measure import ARMS, AblationStudy, ablation_study
from toolkit.geometry.decoder_norms import nrn
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.interventions.ablation import OTHER, Effects, ablation_effects, predicting_codes
from toolkit.latents.categories import Category
from toolkit.latents.choices import Method
from toolkit.latents.firing import FiringCounts
from toolkit.latents.selection import matched_latents, random_latents, select_latents
from toolkit.leaving_out import TooFewError
from toolkit.tracking import watched_by

WAIT = Category(name="wait", words=("w",), tokens=("w3", "w5"), token_ids=(3, 5))
BUT = Category(name="but", words=("w",), tokens=("w9",), token_ids=(9,))
SETTINGS = AblationSettings(
    shares=(0.05, 0.2), reference=0.2, undecided=(0.0, 1.0), targets=20, control_draws=2, min_nrn=0.4, seed=3
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
    return ablation_study(tiny_pair, crosscoder, batches, mask(), [WAIT, BUT], SETTINGS)


def same(first: Effects, second: Effects) -> bool:
    return first.models == second.models and torch.allclose(first.values, second.values, rtol=1e-4, atol=1e-5)


def test_even_rows_choose_and_odd_rows_test(tiny_pair, crosscoder, batches, study):
    counts = FiringCounts([WAIT, BUT], 64)
    for batch in batches:
        ids = batch.input_ids[::2]
        where = torch.ones_like(ids, dtype=torch.bool)
        where[:, 0] = False
        counts.add(ids, where, crosscoder.encode(tiny_pair.residual(ids, torch.ones_like(ids))[where]))
    assert torch.equal(study.counts.fired, counts.fired)
    assert torch.equal(study.counts.counts["predicting"], counts.counts["predicting"])
    assert torch.equal(study.alive, counts.fired > 0)
    torch.testing.assert_close(study.nrn, nrn(crosscoder.W_dec))
    eligible = study.alive & (study.nrn > 0.4)
    assert 0 < eligible.sum() < 64
    for index, each in enumerate(study.categories):
        assert all(prefix[0] == 31 for prefix in each.targets.prefixes)
        assert set(each.targets.target_ids.tolist()) <= set(each.category.token_ids)
        chosen = select_latents(
            counts, index, rule="lift", place="predicting", shares=SETTINGS.shares, eligible=eligible
        )
        assert each.latents == {share_name(share): latents.tolist() for share, latents in chosen.items()}


def test_twenty_targets_are_twenty_and_fewer_say_so(tiny_pair, crosscoder, batches, study):
    for each in study.categories:
        assert len(each.targets.prefixes) == 20 < each.targets.found or each.targets.found == len(each.targets.prefixes)
    assert study.categories[0].targets.found > 20
    settings = replace(SETTINGS, targets=1000)
    every = ablation_study(tiny_pair, crosscoder, batches, mask(), [WAIT, BUT], settings)
    for each in every.categories:
        n = sum(int(torch.isin(b.input_ids[1::2, 2:], torch.tensor(each.category.token_ids)).sum()) for b in batches)
        assert each.targets.found == len(each.targets.prefixes) == n
        assert each["20 %", "chosen"]["base"].logit.shape == (n,)


def test_arms_are_the_chosen_and_means_over_the_draws_of_each_control(tiny_pair, crosscoder, study):
    for each in study.categories:
        generator = torch.Generator().manual_seed(3)
        mean_code = predicting_codes(tiny_pair, crosscoder, each.targets).mean(dim=0)
        for share in ("5 %", "20 %"):
            chosen = torch.tensor(each.latents[share])
            draws = {
                "chosen": [chosen],
                "random": [random_latents(chosen, study.alive, generator) for _ in range(2)],
                "matched": [matched_latents(chosen, study.alive, mean_code, generator) for _ in range(2)],
            }
            for arm in ARMS:
                assert all(len(draw) == len(chosen) for draw in draws[arm])
                apart = [ablation_effects(tiny_pair, crosscoder, each.targets, [d], Method()) for d in draws[arm]]
                logit = torch.cat([effects["distilled"].logit for effects in apart]).mean(dim=0)
                torch.testing.assert_close(each[share, arm]["distilled"].logit, logit, rtol=1e-3, atol=1e-6)
            matched = sum(float(mean_code[draw].sum()) for draw in draws["matched"]) / 2
            assert each.matched_code[share] == pytest.approx(matched / float(mean_code[chosen].sum()), rel=1e-4)


def test_off_target_is_the_same_edit_on_other_words(tiny_pair, crosscoder, study):
    assert set(study.off_target) == {(a, b) for a in ("wait", "but") for b in ("wait", "but", OTHER)}
    targets = {each.category.name: each.targets for each in study.categories} | {OTHER: study.other}
    for each in study.categories:
        edited = torch.tensor(each.latents["20 %"])
        for name in ("wait", "but", OTHER):
            alone = ablation_effects(tiny_pair, crosscoder, targets[name], [edited], Method()).mean([0])
            assert same(study.off_target[each.category.name, name], alone)
        assert same(study.off_target[each.category.name, each.category.name], each["20 %", "chosen"])


def test_shares_that_choose_the_same_latents_cost_the_passes_of_their_controls_alone(tiny_pair, crosscoder, batches):
    def passes(shares: tuple[float, ...]) -> int:
        done = []
        head = tiny_pair.base.model._module.lm_head
        hook = head.register_forward_hook(lambda *_: done.append(1))
        settings = replace(SETTINGS, shares=shares, reference=0.4, min_nrn=0.7)
        (each,) = ablation_study(tiny_pair, crosscoder, batches, mask(), [WAIT], settings).categories
        hook.remove()
        assert len({tuple(latents) for latents in each.latents.values()}) == 1
        assert all(same(each[share_name(share), "chosen"], each["40 %", "chosen"]) for share in shares)
        return len(done)

    assert passes((0.4, 0.5)) == passes((0.4,)) + 2 * SETTINGS.control_draws


def test_a_category_that_cannot_be_measured_is_left_out_and_the_others_are_as_without_it(
    tiny_pair, crosscoder, batches, study
):
    odd = Category(name="odd", words=("odd",), tokens=(), token_ids=())
    absent = Category(name="absent", words=("w50",), tokens=("w50",), token_ids=(50,))
    found = ablation_study(tiny_pair, crosscoder, batches, mask(), [odd, WAIT, absent, BUT], SETTINGS)
    assert [each.category for each in found.categories] == [WAIT, BUT]
    assert found.off_target.keys() == study.off_target.keys()
    for each, expected in zip(found.categories, study.categories, strict=True):
        assert all(same(each.effects[key], effects) for key, effects in expected.effects.items())
    assert "none of ' Odd', 'Odd', ' odd', 'odd' is a single token" in found.left_out["odd"]
    assert "absent: 0 positions where its words" in found.left_out["absent"]
    assert "at least two are needed: read more text" in found.left_out["absent"]


def test_no_latent_to_take_out_is_an_error_with_all_reasons(tiny_pair, crosscoder, batches):
    with pytest.raises(TooFewError, match=r"no eligible latent fired often enough on 'wait'.*; no eligible .*'but'"):
        ablation_study(tiny_pair, crosscoder, batches, mask(), [WAIT, BUT], replace(SETTINGS, min_nrn=1.0))


def test_a_share_that_leaves_no_controls_is_said_before_anything_is_measured(tiny_pair, crosscoder, batches):
    settings = replace(SETTINGS, shares=(0.2, 0.9), min_nrn=0.0, select="rate")
    with pytest.raises(TooFewError, match=r"\d+ latents are chosen, and only \d+ other alive ones .* a smaller share"):
        ablation_study(tiny_pair, crosscoder, batches, mask(), [WAIT, BUT], settings)


def test_no_category_at_all_is_an_error_with_all_reasons(tiny_pair, crosscoder, batches):
    settings = replace(SETTINGS, undecided=(0.9, 1.0))
    with pytest.raises(TooFewError, match=r"wait: 0 positions .*; but: 0 positions .*"):
        ablation_study(tiny_pair, crosscoder, batches, mask(), [WAIT, BUT], settings)


def test_the_same_seed_finds_the_same_and_what_is_done_is_counted(tiny_pair, crosscoder, batches, study):
    diary = Diary()
    with watched_by(diary):
        again = ablation_study(tiny_pair, crosscoder, batches, mask(), [WAIT, BUT], SETTINGS)
    outermost = [each for each in diary.counts() if each[0] in ("counting firings", "looking for words")]
    assert outermost == [("counting firings", 3, 3), ("looking for words", 3, 3)]
    assert ("taking latents out", 2, 2) in diary.counts()
    assert all(done == total for _, done, total in diary.counts())
    other = ablation_study(tiny_pair, crosscoder, batches, mask(), [WAIT, BUT], replace(SETTINGS, seed=4))
    first, second, third = (s.categories[0]["20 %", "random"] for s in (study, again, other))
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
    crosscoder.W_dec[0, 0] = 0
    settings = replace(SETTINGS, place="token", min_nrn=0.99)
    batch = TokenBatch(text, torch.ones_like(text))
    (each,) = ablation_study(tiny_pair, crosscoder, [batch], mask(), [WAIT], settings).categories
    assert each.latents == {"5 %": [0], "20 %": [0]}
    assert not each["20 %", "chosen"].values.any()
    assert math.isnan(each.matched_code["20 %"])


def test_given_latents_are_taken_out_of_every_categorys_words(tiny_pair, crosscoder, batches, study):
    alive = study.alive.nonzero()[:2, 0].tolist()
    given = ablation_study(tiny_pair, crosscoder, batches, mask(), [WAIT, BUT], replace(SETTINGS, latents=tuple(alive)))
    for each in given.categories:
        assert each.latents == {"given": alive}
        alone = ablation_effects(tiny_pair, crosscoder, each.targets, [torch.tensor(alive)], Method())
        assert same(each["given", "chosen"], alone.mean([0]))
    with pytest.raises(
        ValueError, match=r"'chosen'\) was not measured: give \[share, arm\], of 'given' and of 'chosen'"
    ):
        _ = given.categories[0]["2 %", "chosen"]
    with pytest.raises(ValueError, match="latent 64 does not exist"):
        ablation_study(tiny_pair, crosscoder, batches, mask(), [WAIT], replace(SETTINGS, latents=(64,)))


def test_settings_that_make_no_study_are_refused():
    with pytest.raises(ValueError, match=r"reference share 0.03 is not among the shares"):
        AblationSettings(reference=0.03)
    with pytest.raises(ValueError, match="targets 1: must be at least 2"):
        AblationSettings(targets=1)
    with pytest.raises(ValueError, match="control_draws 0: must be at least 1"):
        AblationSettings(control_draws=0)
