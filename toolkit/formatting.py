"""Numbers written for readers, in one way on the page, in the figures and in the console."""

import math


def number(value: float | int) -> str:
    """Write a count with thousands separators, anything else with three significant digits; NaN as a dash."""
    if math.isnan(value):
        return "–"
    if isinstance(value, int) or abs(value) >= 999.5:  # where three digits round to a thousand
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def counted(n: int, thing: str) -> str:
    """Write how many there are of a thing: 1 table, 2 tables."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def interval(low: float | None, high: float | None) -> str:
    """Write a confidence interval, or nothing where there is none."""
    if low is None or high is None or math.isnan(low + high):
        return ""
    return f"{number(low)} to {number(high)}"


def estimate(value: float, low: float | None, high: float | None) -> tuple[str, str]:
    """Write a value and its interval, all to the same place: the second digit of the interval's half width."""
    half = (high - low) / 2 if low is not None and high is not None else math.nan
    if not (math.isfinite(value) and math.isfinite(half) and half > 0):
        return number(value), interval(low, high)
    decimals = max(0, 1 - math.floor(math.log10(half)))
    value_text, low_text, high_text = (f"{part:z,.{decimals}f}" for part in (value, low, high))
    return value_text, f"{low_text} to {high_text}"


def compact(count: float | int) -> str:
    """Write a large count in at most five characters: 950, 18.2k, 1.02M, 400M."""
    for size, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * size:
            return f"{count / size:#.3g}".rstrip(".") + suffix
    return f"{count:.0f}"


def size(n_bytes: int) -> str:
    """Write bytes in powers of 1000: 950 B, 18.2 kB, 1.24 GB, 400 TB."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= 0.9995 * unit:
            return f"{n_bytes / unit:#.3g}".rstrip(".") + f" {name}"
    return f"{n_bytes} B"


def percent(share: float) -> str:
    """Write a share of one as a percentage with one decimal."""
    return f"{share * 100:.1f} %"


def duration(seconds: float | int) -> str:
    """Write a time as seconds below a minute, m:ss below an hour, h:mm:ss from there on."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
