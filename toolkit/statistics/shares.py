"""Shares with their intervals."""

from math import sqrt

from toolkit.statistics.estimates import Estimate

Z = 1.959964


def wilson(successes: int, n: int) -> Estimate:
    """Return a share with its 95 % Wilson score interval, which holds for few trials and for 0 of n.

    Raises `ValueError` for no trials, or for more successes than trials. Source: Wilson 1927.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is no share: give at least one trial, and no more successes than trials")
    share = successes / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Estimate(share, max(0.0, middle - reach), min(1.0, middle + reach))
