"""Numbers that each crosscoder gives once, such as a count of latents: their mean over seeds, and differences of means.

Crosscoders of other seeds have other latents, so nothing pairs them. Two or three seeds leave one or two degrees of
freedom, and the intervals are as wide as that makes them.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

from toolkit.statistics.estimates import GIVEN_ONE, Estimate, satterthwaite, with_error

ALL_ALIKE = "the same with every seed: nothing says how it would vary"


def mean_of_seeds(values: Sequence[float]) -> Estimate:
    """Return the mean of one number a seed, with its 95 % t interval.

    One seed has none, nor have seeds that all give the same number; `note` says so. Raises `ValueError` for no seeds.
    """
    if not values:
        raise ValueError("a mean over seeds needs at least one seed")
    if len(values) == 1:
        return Estimate(values[0], note=GIVEN_ONE)
    error = stdev(values) / sqrt(len(values))
    return with_error(fmean(values), error, len(values) - 1.0) if error else Estimate(fmean(values), note=ALL_ALIKE)


def difference_of_seeds(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return the first mean less the second, with its 95 % interval by Welch's t test (1947).

    There is no interval where either has one seed alone, and where each has seeds that all give the same number.
    """
    value = mean_of_seeds(first).value - mean_of_seeds(second).value
    if min(len(first), len(second)) == 1:
        return Estimate(value, note=GIVEN_ONE)
    parts = [(stdev(values) ** 2 / len(values), len(values) - 1) for values in (first, second)]
    squared = sum(variance for variance, _ in parts)
    if squared == 0:
        return Estimate(value, note=ALL_ALIKE)
    return with_error(value, sqrt(squared), satterthwaite(parts))
