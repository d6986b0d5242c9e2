"""Settings are composed of parts: walks through them."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any


def leaves(settings: Any) -> Iterator[tuple[str, Any]]:
    """The settings of all parts, by name; flags stand without the names of parts, so each name is there once."""
    for each in fields(settings):
        value = getattr(settings, each.name)
        if is_dataclass(value):
            yield from leaves(value)
        else:
            yield each.name, value
