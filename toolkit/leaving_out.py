"""Measures several things one after the other, and leaves out each that has too few cases, with the reason."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
Key = TypeVar("Key", str, int)


class TooFewError(ValueError):
    """One of several things has too few cases to be measured; others may have enough."""


def measurable(names: Iterable[Key], measure: Callable[[Key], T]) -> tuple[dict[Key, T], dict[Key, str]]:
    """Return what `measure` returns for each name, and the message of its `TooFewError` for each that it raises for."""
    found: dict[Key, T] = {}
    left_out: dict[Key, str] = {}
    for name in names:
        try:
            found[name] = measure(name)
        except TooFewError as error:
            left_out[name] = str(error)
    return found, left_out


def check_any(found: Mapping[Any, Any], left_out: Mapping[Any, str]) -> None:
    """Raise `TooFewError` with all reasons where `found` is empty."""
    if not found:
        raise TooFewError("; ".join(left_out.values()) or "there is nothing to measure")
