import pytest

from toolkit.geometry.proportions import wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    """The last one is Newcombe's (1998) example."""
    assert wilson(successes, n) == pytest.approx((successes / n, low, high), abs=1e-4)


@pytest.mark.parametrize("n", [1, 7, 400])
def test_the_bounds_solve_the_score_equation(n: int) -> None:
    for successes in {0, n // 3, n}:
        share, low, high = wilson(successes, n)
        for bound in (low, high):
            if 0 < bound < 1 and bound != share:
                assert abs(share - bound) == pytest.approx(1.959964 * (bound * (1 - bound) / n) ** 0.5, rel=1e-6)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_no_share_is_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} of {n} is no share"):
        wilson(successes, n)
