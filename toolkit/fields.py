"""Fields of settings that say nothing about a result, such as where a model runs: each says so in its metadata."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

_DECIDES = "decides the result"
_Test = Callable[[Any], bool]


def beside_result(unless: _Test = lambda _: False) -> dict[str, _Test]:
    """Metadata of a field that does not decide the result, unless the settings that hold it are such."""
    return {_DECIDES: unless}


BESIDE_RESULT = beside_result()


def of_result(settings: Any) -> dict[str, Any]:
    """Names and values of a dataclass's fields that decide the result."""
    tests = {each.name: each.metadata.get(_DECIDES, lambda _: True) for each in fields(settings)}
    return {name: getattr(settings, name) for name, decides in tests.items() if decides(settings)}
