"""Numbers and types that people pass (Python's, numpy's, in tensors, or by name), as Python's own or a `ValueError`."""

import operator
from collections.abc import Iterable, Mapping
from contextlib import suppress
from numbers import Real
from typing import Any, SupportsFloat, SupportsIndex

import torch

Indices = SupportsIndex | Iterable[Any]
"""A whole number or several: ints, numpy's integers, tensors and arrays of integers."""

Numbers = SupportsFloat | Iterable[Any]
"""A number or several."""

SHORT_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "fp64": "float64"}


def plain(value: object) -> Any:
    """Return what a tensor, an array, a series or a number of numpy's holds as Python's own numbers and lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def as_index(value: object, name: str) -> int:
    """Return a whole number as an int; raises `ValueError` for anything else, including True, False and 3.0."""
    found = plain(value)
    if not isinstance(found, bool):
        with suppress(TypeError):
            return operator.index(found)
    raise ValueError(f"{name} {found!r:.60} is not a whole number: give an int")


def as_indices(values: object, name: str) -> tuple[int, ...]:
    """Return one whole number or several as ints; raises `ValueError` as `as_index` does."""
    return tuple(as_index(each, name) for each in _several(values))


def as_number(value: object, name: str) -> float:
    """Return a number as a float, nan and infinity too; raises `ValueError` for anything that is not a number."""
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, Real):
        raise ValueError(f"{name} {found!r:.60} is not a number: give a float")
    return float(found)


def as_numbers(values: object, name: str) -> tuple[float, ...]:
    """Return one number or several as floats; raises `ValueError` as `as_number` does."""
    return tuple(as_number(each, name) for each in _several(values))


def as_dtype(value: object) -> torch.dtype:
    """Return the floating-point type of a name, as torch writes it or in short: bf16, fp16, fp32, fp64.

    Raises `ValueError` for anything that is not a floating-point type.
    """
    name = str(value).removeprefix("torch.")
    found = getattr(torch, SHORT_NAMES.get(name, name), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype {value!r:.60} is no floating-point type: give float32, bfloat16 or float16")
    return found


def _several(values: object) -> Iterable[Any]:
    """Return one value or several as an iterable."""
    found = plain(values)
    return found if isinstance(found, Iterable) and not isinstance(found, str | bytes | Mapping) else (found,)
