"""The numbers that a setting may be: its type declares them, and one function checks them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, get_args, get_type_hints

LARGEST = 2**53  # beyond it, neighbouring whole numbers are one float


@dataclass(frozen=True)
class Range:
    """Numbers for which `holds` is true, which it never is for NaN; `words` describe them after "must be"."""

    words: str
    holds: Callable[[Any], bool]


Count = Annotated[int, Range("at least 1, and at most 2^53", lambda number: 1 <= number <= LARGEST)]
CountOrNone = Annotated[int, Range("at least 0, which switches it off", lambda number: 0 <= number <= LARGEST)]
Seed = Annotated[int, Range("at least 0, and below 2^32", lambda number: 0 <= number < 2**32)]
Positive = Annotated[float, Range("above 0, and finite", lambda number: 0 < number < math.inf)]
PositiveOrNone = Annotated[float, Range("0, which switches it off, or above, and finite", lambda n: 0 <= n < math.inf)]
Share = Annotated[float, Range("from 0 to 1", lambda number: 0 <= number <= 1)]
ShareAboveZero = Annotated[float, Range("above 0, and at most 1", lambda number: 0 < number <= 1)]
ShareBelowOne = Annotated[float, Range("at least 0, and below 1", lambda number: 0 <= number < 1)]
Factor = Annotated[float, Range("above 1; inf switches it off", lambda number: number > 1)]


def check_ranges(settings: Any) -> None:
    """Check the numbers of a dataclass, those in tuples too, against the ranges that its fields' types declare.

    Raises `ValueError` with the field's name, its value, and what it must be.
    """
    for name, (kind, allowed) in _declared(settings.__class__).items():
        value = getattr(settings, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is None:
                continue
            if not isinstance(number, Integral if kind is int else Real):
                raise ValueError(f"{name} {number!r}: must be a {'whole ' if kind is int else ''}number")
            if not allowed.holds(number):
                raise ValueError(f"{name} {number}: must be {allowed.words}")


@cache
def _declared(kind: type) -> dict[str, tuple[type, Range]]:
    found = {name: range_of(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}
    return {name: declared for name, declared in found.items() if declared is not None}


def range_of(hint: Any) -> tuple[type, Range] | None:
    """Return the type and range that a type hint declares: of a number, of a tuple's items, or of either or None."""
    for each in getattr(hint, "__metadata__", ()):
        if isinstance(each, Range):
            return hint.__origin__, each
    return next(filter(None, map(range_of, get_args(hint))), None)
