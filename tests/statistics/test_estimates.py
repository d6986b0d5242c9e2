import math
from dataclasses import astuple

import pytest
import torch

from toolkit.statistics.estimates import Estimate, around, interval, mean, over_seeds, ratio_of_sums
from toolkit.statistics.resampling import random_cycle, resample_counts
from toolkit.statistics.shares import wilson


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
    assert mean(torch.ones(20), torch.arange(20) // 2).low == 1.0


def test_the_interval_over_seeds_contains_how_seeds_differ():
    documents = torch.randn(200, generator=torch.Generator().manual_seed(0))
    alike, apart = documents.expand(3, -1), documents + torch.tensor([[-3.0], [0.0], [3.0]])
    one, same, spread = mean(documents), over_seeds(alike), over_seeds(apart)
    assert astuple(same)[:3] == pytest.approx(astuple(one)[:3])
    assert spread.value == pytest.approx(one.value)
    assert spread.freedom == pytest.approx(2, rel=0.05)  # the three seeds are what is uncertain
    assert spread.high - spread.low == pytest.approx(2 * 4.303 * 3 / 3**0.5, rel=0.05)


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


def test_intervals_reach_as_far_to_either_side():
    found = around(torch.tensor([1.0, 4.0]), torch.tensor([0.5, 2.0]))
    assert found == [Estimate(1.0, 0.5, 1.5), Estimate(4.0, 2.0, 6.0)]


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


def test_documents_of_one_size_give_the_mean_and_its_standard_error():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    ratio, half_width = ratio_of_sums(7 * means, torch.full((50,), 7.0))
    torch.testing.assert_close(ratio, means.mean(dim=0))
    torch.testing.assert_close(half_width, 2.0095752 * means.std(dim=0) / 50**0.5, rtol=1e-6, atol=0)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(1000):
        sizes = torch.randint(5, 50, (60,), generator=generator).double()
        of_document = 2 + torch.randn(60, generator=generator, dtype=torch.float64)  # alike within a document
        noise = sizes.sqrt() * torch.randn(60, generator=generator, dtype=torch.float64)
        ratio, half_width = ratio_of_sums(sizes * of_document + noise, sizes, level=0.9)
        covered += bool((ratio - 2).abs() < half_width)
    assert covered / 1000 == pytest.approx(0.9, abs=0.035)


def test_one_document_is_refused():
    with pytest.raises(ValueError, match="1 documents give no interval"):
        ratio_of_sums(torch.ones(1), torch.ones(1))


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
