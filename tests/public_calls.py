"""Finds the calls that a notebook can make with tensors, or with what holds them, by their signatures."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

from jaxtyping import AbstractArray
from torch import Tensor, nn

import toolkit
from toolkit.models.model.edits import Change
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.opened_models import OpenedModels

OWNERS = (nn.Module, Change, TracedModel, OpenedModels)
OPERATORS = ("__init__", "__call__", "__getitem__")


def with_tensors() -> set[str]:
    """Names of the functions, methods and properties that take tensors or what holds them, or that return tensors.

    They are those of `toolkit`, of the modules that "From Python" in toolkit/README.md names, and of whatever these
    return.
    """
    found, seen, waiting = set(), set(), [*_named()]
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        for function in _members(each) if inspect.isclass(each) else [each]:
            hints = _hints(function)
            returned = _types(hints.pop("return", None))
            waiting += [type_ for type_ in returned if type_.__module__.startswith("toolkit")]
            if any(_holds(type_) for hint in hints.values() for type_ in _types(hint)) or any(
                map(_is_tensor, returned)
            ):
                found.add(function.__qualname__)
    return found


def _named() -> Iterator[Any]:
    yield from (getattr(toolkit, name) for name in toolkit.__all__)
    text = (Path(toolkit.__file__).parent / "README.md").read_text("utf-8")
    section = text.split("\n## From Python\n")[1].split("\n## ")[0]
    for path in re.findall(r"`(\w+/\w+)\.py`", section):
        module = import_module(f"toolkit.{path.replace('/', '.')}")
        yield from (
            each
            for name, each in vars(module).items()
            if inspect.isfunction(each) and each.__module__ == module.__name__ and not name.startswith("_")
        )


def _members(given: type) -> Iterator[Callable[..., Any]]:
    """What the class and those that it comes from define, abstract methods apart, each under its last definition."""
    names = {name: inspect.getattr_static(given, name) for name in dir(given)}
    for name, member in names.items():
        if name.startswith("_") and name not in OPERATORS:
            continue
        if name == "__init__" and dataclasses.is_dataclass(given):  # it keeps what it is given
            continue
        if isinstance(member, property | cached_property):
            member = member.fget if isinstance(member, property) else member.func
        function = getattr(member, "__func__", member)
        own = getattr(function, "__module__", None) or ""
        if inspect.isfunction(function) and own.startswith("toolkit") and not _is_abstract(function):
            yield function


def _is_abstract(function: Callable[..., Any]) -> bool:
    return getattr(function, "__isabstractmethod__", False)


def _hints(given: Any) -> dict[str, Any]:
    try:
        return get_type_hints(given)
    except NameError:  # a name that is imported for type checkers alone
        return dict(getattr(given, "__annotations__", {}))


def _types(hint: Any) -> list[type]:
    """The classes that a hint names, at any depth."""
    found = [hint] if isinstance(hint, type) else []
    for part in get_args(hint):
        for each in part if isinstance(part, list) else [part]:
            found += _types(each)
    return found


def _is_tensor(type_: type) -> bool:
    return issubclass(type_, Tensor | AbstractArray)


def _holds(type_: type) -> bool:
    """Whether values of a type are tensors, or have some."""
    if _is_tensor(type_) or issubclass(type_, OWNERS):
        return True
    if not dataclasses.is_dataclass(type_) or not type_.__module__.startswith("toolkit"):
        return False
    return any(_is_tensor(each) for hint in _hints(type_).values() for each in _types(hint))
