import math
from dataclasses import astuple

import pytest
import torch

from toolkit.statistics.estimates import (
    Estimate,
    clustered_freedom,
    interval,
    jackknife,
    jackknife_over_seeds,
    mean,
    over_seeds,
    ratio_of_sums,
    ratio_over_seeds,
    with_error,
)
from toolkit.statistics.resampling import random_cycle, resample_counts
from toolkit.statistics.shares import share, wilson


def test_interval_of_a_mean_agrees_with_the_normal_one():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    found = mean(values)
    half = 1.96 * values.std().item() / 2000**0.5
    assert found.value == pytest.approx(values.mean().item(), abs=1e-6)
    assert found.high - found.value == pytest.approx(half, rel=0.01)
    assert found.value - found.low == pytest.approx(half, rel=0.01)


def test_samples_of_one_group_count_as_one():
    of_group = torch.randn(300, generator=torch.Generator().manual_seed(0))
    values, groups = of_group.repeat_interleave(10), torch.arange(300).repeat_interleave(10)
    together, alone = mean(values, groups), mean(of_group)
    assert astuple(together)[:5] == pytest.approx(astuple(alone)[:5])
    narrow = mean(values)
    assert narrow.high - narrow.low < 0.5 * (together.high - together.low)


def test_groups_weigh_as_many_samples_as_they_have():
    values, groups = torch.tensor([0.0, 1.0, 1.0, 1.0]), torch.tensor([7, 3, 3, 3])
    assert mean(values, groups).value == 0.75


def test_few_groups_or_positions_have_a_mean_no_interval_and_a_reason():
    assert mean(torch.ones(7)) == Estimate(1.0, note="7 documents: an interval needs 8")
    assert mean(torch.ones(16), torch.arange(16) // 2).note == "16 positions: an interval needs 20"
    assert mean(torch.arange(20.0), torch.arange(20) // 2).low is not None


def test_the_interval_over_seeds_contains_how_seeds_differ():
    documents = torch.randn(200, generator=torch.Generator().manual_seed(0))
    alike, apart = documents.expand(3, -1), documents + torch.tensor([[-3.0], [0.0], [3.0]])
    one, same, spread = mean(documents), over_seeds(alike), over_seeds(apart)
    assert astuple(same)[:3] == pytest.approx(astuple(one)[:3])
    assert spread.value == pytest.approx(one.value)
    assert spread.freedom == pytest.approx(2, rel=0.05)  # the three seeds are what is uncertain
    assert spread.high - spread.low == pytest.approx(2 * 4.303 * 3 / 3**0.5, rel=0.05)


def test_a_ratio_over_seeds_is_that_of_one_seed_where_all_agree_and_wider_where_they_differ():
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([0, *range(5, 45)]).double()
    sums = sizes * (1 + torch.randn(41, generator=generator))
    one, same = ratio_of_sums(sums, sizes), ratio_over_seeds(sums.expand(3, -1), sizes)
    assert astuple(same)[:3] == pytest.approx(astuple(one)[:3])
    apart = ratio_over_seeds(sums + sizes * torch.tensor([[-3.0], [0.0], [3.0]]), sizes)
    assert apart.value == pytest.approx(one.value)
    assert apart.high - apart.low == pytest.approx(2 * 4.303 * 3 / 3**0.5, rel=0.05)
    assert ratio_over_seeds(sums.expand(3, -1), torch.ones(41)).value == pytest.approx(
        over_seeds(sums.expand(3, -1)).value
    )


def test_a_value_left_out_in_turn_over_seeds_counts_the_groups_that_move_it():
    values = torch.randn(30, generator=torch.Generator().manual_seed(0)).double()
    without = (values.sum() - values) / 29
    one = jackknife(float(values.mean()), without)
    silent = values.mean().expand(5)
    same = jackknife_over_seeds(values.mean().expand(3), torch.cat([without, silent]).expand(3, -1))
    assert astuple(same)[:4] == pytest.approx(astuple(one)[:4])
    shifts = torch.tensor([-3.0, 0.0, 3.0]).double()
    apart = jackknife_over_seeds(values.mean() + shifts, without + shifts[:, None])
    assert apart.error == pytest.approx((one.error**2 + 3) ** 0.5)
    assert jackknife_over_seeds(values[:1], values[:1, None] + torch.ones(7)).low is None


def test_a_resample_draws_as_many_as_there_are_each_as_likely():
    counts = resample_counts(5, 4000, torch.Generator().manual_seed(0))
    assert counts.shape == (4000, 5)
    assert (counts.sum(dim=1) == 5).all()
    assert counts.mean(dim=0).tolist() == pytest.approx([1] * 5, abs=0.05)
    assert counts.var().item() == pytest.approx(4 / 5, abs=0.05)  # of a binomial: n = 5, p = 1/5


def test_an_interval_holds_the_middle_and_leaves_out_nan():
    values = torch.cat([torch.arange(1001.0), torch.full((9,), torch.nan)])
    assert interval(values[torch.randperm(1010, generator=torch.Generator().manual_seed(0))]) == (25, 975)


def test_a_mean_leaves_out_what_is_not_known_and_its_group():
    values = torch.tensor([1.0, math.nan, 2.0, 4.0, 5.0])
    groups = torch.tensor([0, 7, 0, 1, 2])
    known = values[~values.isnan()]
    assert mean(values) == mean(known)
    assert mean(values, groups) == mean(known, torch.tensor([0, 0, 1, 2]))


def test_nothing_known_has_no_mean():
    assert math.isnan(mean(torch.full((3,), math.nan)).value)


def test_groups_that_do_not_differ_have_no_interval():
    found = mean(torch.full((30,), 0.1))
    assert (found.low, found.note) == (None, "no two documents differ: an interval needs some that do")
    assert mean(torch.ones(30)).p_above(0.5) == 1


def test_the_freedom_of_a_few_large_groups_is_small():
    """The closed form agrees with the matrix of Bell & McCaffrey's quadratic form."""
    assert clustered_freedom(torch.full((9,), 4.0)) == pytest.approx(8)
    sizes = torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 40], dtype=torch.float64)
    share = sizes / sizes.sum()
    centre = torch.eye(8) - share.expand(8, 8)
    form = centre.T @ torch.diag(share**2 / (1 - share)) @ centre
    assert clustered_freedom(sizes) == pytest.approx(float(form.trace() ** 2 / form.square().sum()))
    assert clustered_freedom(sizes) < 3


def test_the_error_leaves_each_group_out_in_turn():
    generator = torch.Generator().manual_seed(0)
    sums, sizes = torch.randn(12, generator=generator) + 3, torch.randint(1, 30, (12,), generator=generator).double()
    found = ratio_of_sums(sums, sizes)
    without = (sums.double().sum() - sums.double()) / (sizes.sum() - sizes)
    assert found.error == pytest.approx(float((without - found.value).square().sum()) ** 0.5)
    assert found.freedom == clustered_freedom(sizes)


def test_skew_moves_both_ends_towards_the_long_tail():
    values = torch.rand(30, generator=torch.Generator().manual_seed(0)).log().neg()
    found, plain = mean(values), with_error(mean(values).value, mean(values).error, 29.0)
    assert found.skew > 0.1
    assert found.high > plain.high
    assert found.low > plain.low
    mirrored = mean(-values)
    assert astuple(mirrored.reflected()) == pytest.approx(astuple(found))
    assert found.reflected(1.0).low == pytest.approx(1 - found.high)


def test_the_p_value_agrees_with_a_skewed_interval():
    for skew in (-0.4, 0.0, 0.4):
        edge = with_error(1.0, 0.5, 12.0, skew=skew)
        assert edge.p_above(edge.low) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    """The last one is Newcombe's (1998) example."""
    assert astuple(wilson(successes, n))[:3] == pytest.approx((successes / n, low, high), abs=1e-4)


@pytest.mark.parametrize("n", [1, 7, 400])
def test_the_bounds_solve_the_score_equation(n: int) -> None:
    for successes in {0, n // 3, n}:
        share, low, high, *_ = astuple(wilson(successes, n))
        for bound in (low, high):
            if 0 < bound < 1 and bound != share:
                assert abs(share - bound) == pytest.approx(1.959964 * (bound * (1 - bound) / n) ** 0.5, rel=1e-6)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_no_share_is_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} of {n} is no share"):
        wilson(successes, n)


def test_samples_that_are_sums_give_what_their_parts_give():
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(10).repeat_interleave(torch.arange(1, 11))
    values = torch.randn(len(groups), generator=generator)
    sums = torch.zeros(11).index_add(0, groups, values)  # the last document has no token
    sizes = torch.bincount(groups, minlength=11).float()
    assert astuple(ratio_of_sums(sums, sizes)) == pytest.approx(astuple(mean(values, groups)))


def test_another_level_reaches_farther():
    sums, sizes = torch.randn(50, generator=torch.Generator().manual_seed(0)), torch.ones(50)
    wide, narrow = ratio_of_sums(sums, sizes, level=0.99), ratio_of_sums(sums, sizes)
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(2.680 / 2.010, rel=0.02)


def test_seven_documents_have_a_ratio_and_no_interval():
    found = ratio_of_sums(torch.arange(7.0), torch.full((7,), 5.0))
    assert (found.value, found.low) == (pytest.approx(21 / 35), None)
    assert found.note == "7 documents: an interval needs 8"


@pytest.mark.parametrize("successes", [0, 10])
def test_a_share_of_all_is_never_certain(successes: int):
    values = torch.zeros(10)
    values[:successes] = 1
    assert share(values) == wilson(successes, 10)
    grouped = share(values.repeat_interleave(6), torch.arange(10).repeat_interleave(6))
    assert grouped.high - grouped.low > 0.25  # ten documents that do not differ say as much as ten trials or less
    assert wilson(10, 10).p_above(0.72) == pytest.approx(0.05, abs=0.01)


def test_trials_of_one_group_say_less_than_as_many_alone():
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(30).repeat_interleave(10)
    alike = (torch.rand(30, generator=generator) < 0.6).float().repeat_interleave(10)
    apart = (torch.rand(300, generator=generator) < 0.6).float()
    wide, narrow, alone = share(alike, groups), share(apart, groups), share(apart)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert narrow.high - narrow.low == pytest.approx(alone.high - alone.low, rel=0.3)
    assert share(alike[:70], groups[:70]).note == "7 documents: an interval needs 8"
    missing = apart.clone()
    missing[::2] = math.nan
    assert share(missing, groups) == share(apart[1::2], groups[1::2])


@pytest.mark.parametrize("values", [[], [0.0, 0.5], [math.nan]])
def test_a_share_is_one_of_zeros_and_ones(values: list[float]):
    with pytest.raises(ValueError, match="samples that are 0 or 1"):
        share(torch.tensor(values))


@pytest.mark.parametrize("n", [2, 3, 24])
def test_everyone_gets_another_one_and_all_lie_on_one_cycle(n: int):
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        others, place, seen = random_cycle(n, generator).tolist(), 0, set()
        for _ in range(n):
            assert others[place] != place
            place = others[place]
            seen.add(place)
        assert seen == set(range(n))


def test_every_other_one_is_as_likely():
    generator = torch.Generator().manual_seed(0)
    given = torch.stack([random_cycle(4, generator) for _ in range(3000)])
    for thing in range(4):
        share = torch.bincount(given[:, thing], minlength=4) / 3000
        assert share.tolist() == pytest.approx([0 if other == thing else 1 / 3 for other in range(4)], abs=0.04)


def test_what_is_not_known_is_said_so_with_the_reason():
    assert str(Estimate(math.nan, note="the mean adds no loss")) == "not known (the mean adds no loss)"
