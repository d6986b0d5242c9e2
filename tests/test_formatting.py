import math

import pytest

from toolkit.formatting import compact, duration, estimate, interval, number, percent, size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9731, "0.973"), (0.97, "0.970"), (14.0, "14.0"), (100.0, "100"), (0.0, "0.00"), (-0.25, "-0.250"),
        (17, "17"), (1024000, "1,024,000"), (1234.5, "1,234"),
        (999.4, "999"), (999.5, "1,000"), (-999.6, "-1,000"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_number_keeps_three_digits_and_counts_whole(value: float | int, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00k"),
        (18_230, "18.2k"),
        (999_960, "1.00M"),
        (400e6, "400M"),
        (2e9, "2.00B"),
    ],
)
def test_compact_is_short(count: float | int, text: str) -> None:
    assert compact(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.92, "1.9 s"), (59.96, "1:00"), (97, "1:37"), (3600, "1:00:00"), (math.inf, "–")]
)
def test_duration_names_its_unit(seconds: float | int, text: str) -> None:
    assert duration(seconds) == text


def test_interval_is_empty_where_there_is_none() -> None:
    assert interval(0.5011, 0.5052) == "0.501 to 0.505"
    assert interval(None, 0.5) == interval(0.5, math.nan) == ""


def test_percent_has_one_decimal() -> None:
    assert percent(0.04394) == "4.4 %"


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ((-3.214, -3.6, -2.9), ("-3.21", "-3.60 to -2.90")),
        ((0.00147, -0.00335, 0.000872), ("0.0015", "-0.0034 to 0.0009")),
        ((-0.004, -0.5, 0.5), ("0.00", "-0.50 to 0.50")),
        ((1234.5, 1100.0, 1300.0), ("1,234", "1,100 to 1,300")),
        ((0.5, 0.5, 0.5), ("0.500", "0.500 to 0.500")),
        ((0.5, None, None), ("0.500", "")),
        ((math.nan, -1.0, 1.0), ("–", "-1.00 to 1.00")),
        ((0.5, math.nan, 1.0), ("0.500", "")),
    ],
)
def test_a_value_ends_where_its_interval_begins_to_doubt_it(given: tuple, texts: tuple[str, str]) -> None:
    assert estimate(*given) == texts


@pytest.mark.parametrize(
    ("n_bytes", "written"),
    [(0, "0 B"), (950, "950 B"), (18_240, "18.2 kB"), (1_240_000_000, "1.24 GB"), (4 * 10**14, "400 TB")],
)
def test_sizes(n_bytes: int, written: str) -> None:
    assert size(n_bytes) == written
