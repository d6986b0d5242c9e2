"""Shares with their intervals, none of which says that a share of all of n is certain."""

from math import inf, sqrt

from jaxtyping import Float, Int
from scipy.special import stdtrit
from torch import Tensor

from toolkit.statistics.estimates import FEWEST_GROUPS, LEVEL, Estimate, clustered_freedom, mean, sums_by_group, too_few

Z = 1.959964


def wilson(successes: int, n: int) -> Estimate:
    """Return a share with its 95 % Wilson score interval, which holds for few trials and for 0 of n.

    Trials are independent of each other. Raises `ValueError` for no trials, or for more successes than trials.
    Source: Wilson 1927.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is no share: give at least one trial, and no more successes than trials")
    return _score_interval(successes / n, float(n), Z, inf)


def share(values: Float[Tensor, " sample"], groups: Int[Tensor, " sample"] | None = None) -> Estimate:
    """Return the share of ones among samples of 0 and 1 with its 95 % interval; NaN is left out.

    Without `groups` each sample is a trial of its own, as in `wilson`. Samples of one group, such as positions of one
    document, are alike: the interval is Wilson's for as many trials as would have the error of `mean` over groups, with
    its t distribution; where groups do not differ, for as many as there are groups of even size. `error` is that
    towards the low end. Fewer than 8 groups or 20 samples in groups have no interval. Source: Kott & Liu 2009.
    Raises `ValueError` for other values than 0 and 1, and where none is known.
    """
    known = ~values.isnan()
    values = values[known]
    if len(values) == 0 or not ((values == 0) | (values == 1)).all():
        raise ValueError("a share is one of samples that are 0 or 1: give at least one, and no others")
    if groups is None:
        return wilson(int(values.sum()), len(values))
    groups = groups[known]
    _, sizes = sums_by_group(values, groups)
    of_mean = mean(values, groups)
    if too_few(len(sizes), len(values)):
        return of_mean
    part = sizes / sizes.sum()
    freedom = clustered_freedom(sizes)
    if of_mean.error is None:  # no two groups differ
        trials = 1 / float(part.square().sum())
    else:
        trials = min(float(len(values)), of_mean.value * (1 - of_mean.value) / of_mean.error**2)
    return _score_interval(of_mean.value, trials, float(stdtrit(freedom, (1 + LEVEL) / 2)), freedom)


def change_of_share(changes: Float[Tensor, " sample"], *, unit: str = "document") -> Estimate:
    """Return the mean of paired changes of a share, each from -1 to 1, with its 95 % interval; NaN is left out.

    Half a sample is added to each of the four outcomes of a pair (Agresti & Min 2005), so that the interval has a
    width where nothing changes; `error` is that towards the low end. Fewer than 8 samples have none; `note` says so,
    and `unit` is what it calls a sample.
    """
    changes = changes[~changes.isnan()].double()
    n = len(changes)
    plain = mean(changes, unit=unit)
    if n < FEWEST_GROUPS:
        return plain
    middle = float(changes.sum()) / (n + 2)
    reach = Z * sqrt((float(changes.square().sum()) + 1) / (n + 2) - middle**2) / sqrt(n + 2)
    low, high = max(-1.0, middle - reach), min(1.0, middle + reach)
    return Estimate(plain.value, low, high, (plain.value - low) / Z, inf)


def difference_of_shares(first: tuple[int, int], second: tuple[int, int]) -> Estimate:
    """Return how much larger one share is than another of other trials, each as (successes, trials).

    A success and a failure are added to either (Agresti & Caffo 2000), so that the 95 % interval holds for few trials,
    and has a width where shares are 0 or 1; `error` is that towards the low end. Raises `ValueError` as `wilson` does.
    """
    value = wilson(*first).value - wilson(*second).value
    moved = [((successes + 1) / (n + 2), n + 2) for successes, n in (first, second)]
    middle = moved[0][0] - moved[1][0]
    reach = Z * sqrt(sum(part * (1 - part) / n for part, n in moved))
    low, high = max(-1.0, middle - reach), min(1.0, middle + reach)
    return Estimate(value, low, high, max(value - low, 0.0) / Z, inf)


def _score_interval(share: float, n: float, reach: float, freedom: float) -> Estimate:
    middle = (share + reach**2 / (2 * n)) / (1 + reach**2 / n)
    half = reach / (1 + reach**2 / n) * sqrt(share * (1 - share) / n + reach**2 / (4 * n**2))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Estimate(share, low, high, (share - low) / reach, freedom)
