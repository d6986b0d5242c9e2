"""Fields of settings: which decide a result, which are shown, and how settings made of parts are listed and changed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeVar

Settings = TypeVar("Settings")
_DECIDES = "decides the result"
_Test = Callable[[Any], bool]


class ShortRepr:
    """A dataclass, made with `repr=False`, whose `repr` names the fields that do not have their default."""

    def __repr__(self) -> str:
        shown = []
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            default = each.default if each.default_factory is MISSING else each.default_factory()
            if value != default:
                shown.append(f"{each.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def beside_result(unless: _Test = lambda _: False) -> dict[str, _Test]:
    """Return metadata of a field that does not decide the result, but where `unless` is true of its settings."""
    return {_DECIDES: unless}


BESIDE_RESULT = beside_result()


def of_result(settings: Any) -> dict[str, Any]:
    """Return the names and values of a dataclass's fields that decide the result."""
    tests = {each.name: each.metadata.get(_DECIDES, lambda _: True) for each in fields(settings)}
    return {name: getattr(settings, name) for name, decides in tests.items() if decides(settings)}


def check_names(kind: type, given: Iterable[str], caller: str) -> None:
    """Raise `TypeError` for a keyword that is no field of such settings, with the most like it, or all."""
    known = [each.name for each in fields(kind)]
    if unknown := [name for name in given if name not in known]:
        alike = get_close_matches(unknown[0], known, 1) or known
        raise TypeError(f"{caller} has no setting {unknown[0]!r}: give {', '.join(alike)}")


def leaves(settings: Any) -> Iterator[tuple[str, Any]]:
    """Yield each setting of all parts as name and value; each name is unique, since flags do not name the part."""
    for each in fields(settings):
        value = getattr(settings, each.name)
        if is_dataclass(value):
            yield from leaves(value)
        else:
            yield each.name, value


def changed(settings: Settings, **values: Any) -> Settings:
    """Return the same settings with other values, each in the part that has a field of that name.

    Raises `TypeError` for a name that no part has.
    """
    if unknown := values.keys() - _names(settings):
        raise TypeError(f"no setting is called {sorted(unknown)[0]!r}")
    return _changed(settings, values)


def _names(settings: Any) -> set[str]:
    """Return the names of the fields of the settings and of their parts."""
    parts = [value for each in fields(settings) if is_dataclass(value := getattr(settings, each.name))]
    return {each.name for each in fields(settings)}.union(*map(_names, parts))


def _changed(settings: Any, values: dict[str, Any]) -> Any:
    own = {each.name: getattr(settings, each.name) for each in fields(settings)}
    parts = {name: _changed(part, values) for name, part in own.items() if is_dataclass(part)}
    new = {name: values[name] for name in own if name in values}
    found = {name: value for name, value in (parts | new).items() if value is not own[name]}
    return replace(settings, **found) if found else settings
