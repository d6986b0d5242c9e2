import pytest
import torch
from scipy.stats import ttest_1samp, ttest_ind

from toolkit.statistics.estimates import GIVEN_ONE
from toolkit.statistics.seeds import ALL_ALIKE, difference_of_seeds, mean_of_seeds

OWN, NULL = [60.0, 71.0, 55.0], [38.0, 41.0, 29.0]


def test_the_mean_has_the_interval_of_a_t_test():
    found, test = mean_of_seeds(OWN), ttest_1samp(OWN, 0)
    low, high = test.confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((62, low, high))
    assert found.p_above(0.0) == pytest.approx(test.pvalue)


def test_the_difference_is_welch_s():
    found, test = difference_of_seeds(OWN, NULL), ttest_ind(OWN, NULL, equal_var=False)
    low, high = test.confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((26, low, high))
    assert (found.freedom, found.p_above(0.0)) == pytest.approx((test.df, test.pvalue))


def test_one_seed_has_no_interval_and_says_what_it_knows():
    for found in (mean_of_seeds([5.0]), difference_of_seeds([5.0], NULL), difference_of_seeds(OWN, [5.0])):
        assert found.low is None
        assert found.note == GIVEN_ONE
        assert found.p_above(-1e9) == 1


def test_counts_that_agree_are_no_proof_of_a_difference():
    for found in (mean_of_seeds([4.0, 4.0, 4.0]), difference_of_seeds([4.0, 4.0], [0.0, 0.0])):
        assert found.value == 4
        assert found.note == ALL_ALIKE
        assert found.p_above(0.0) == 1
    assert difference_of_seeds(OWN, [0.0, 0.0, 0.0]).low is not None


def test_its_interval_contains_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    drawn = 50 + torch.randn(2000, 2, 3, generator=generator) * torch.tensor([8.0, 4.0])[:, None]
    found = [difference_of_seeds(*pair) for pair in drawn.tolist()]
    assert sum(each.low <= 0 <= each.high for each in found) / len(found) > 0.94


def test_no_seeds_are_refused():
    with pytest.raises(ValueError, match="at least one seed"):
        mean_of_seeds([])
