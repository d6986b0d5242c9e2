"""Sparse products that are compared with the reference at their first call, and give way to it where they fail."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.plain import PLAIN
from toolkit.dictionaries.sparse_products.products import SparseProducts, WeightGradients
from toolkit.library_warnings import ToolkitWarning


class Trial(NamedTuple):
    """Products to try, and the bound of ‖found − expected‖ / ‖expected‖."""

    products: SparseProducts
    bound: float


def checked(trials: Sequence[Trial], setting: str) -> SparseProducts:
    """Return the first products of the trials, as long as all trials come within their bounds at the first call of each
    function; else a warning says so, and `plain` takes over that function.

    The comparison is made on the caller's own tensors, with copies of the last argument, which may be overwritten. The
    warning tells to leave out `setting`.
    """
    name = trials[0].products.name

    def function(of: str) -> Callable[..., Any]:
        ways = [(getattr(_with_squares(products), of), bound) for products, bound in trials]
        return _FirstCompared(f"{name}'s {of}", ways, getattr(_with_squares(PLAIN), of), setting)

    return SparseProducts(
        name=name, codes=function("codes"), decode=function("decode"), weight_gradients=function("weight_gradients")
    )


def _with_squares(products: SparseProducts) -> SparseProducts:
    """The products, whose gradients have their `row_squares`, which are to be compared too."""

    def weight_gradients(*arguments: Any) -> WeightGradients:
        return products.weight_gradients(*arguments).with_squares()

    return replace(products, weight_gradients=weight_gradients)


class _FirstCompared:
    def __init__(
        self, name: str, ways: list[tuple[Callable[..., Any], float]], reference: Callable[..., Any], setting: str
    ) -> None:
        self._name, self._ways, self._reference, self._setting = name, ways, reference, setting
        self._settled: Callable[..., Any] | None = None

    def __call__(self, pattern: SparsePattern, *arguments: Any) -> Any:
        if self._settled is not None:
            return self._settled(pattern, *arguments)
        expected = self._reference(pattern, *_with_last_copied(arguments))
        if len(pattern.rows) == 0 or not _are_finite(expected):
            return expected  # tells nothing
        try:
            found = [(way(pattern, *_with_last_copied(arguments)), bound) for way, bound in self._ways]
            differences = [(_difference(each, expected), bound) for each, bound in found]
        except Exception as error:  # compilers and drivers have many kinds
            said = next(iter(f"{error}".strip().splitlines()), "no message")
            return self._give_up(f"failed ({type(error).__name__}: {said})", expected)
        for difference, bound in differences:
            if not difference <= bound:
                return self._give_up(f"differs by {difference:.2g} of the norm, more than {bound:g}", expected)
        self._settled = self._ways[0][0]
        return found[0][0]

    def _give_up(self, why: str, expected: Any) -> Any:
        warnings.warn(
            f"{self._name} {why}: torch computes it from here on, slower but right; leave out {self._setting}",
            ToolkitWarning,
            stacklevel=3,
        )
        self._settled = self._reference
        return expected


def _with_last_copied(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return *arguments[:-1], tree_map(torch.clone, arguments[-1])


def _are_finite(result: Any) -> bool:
    return all(math.isfinite(_norm(tensor)) for tensor in tree_leaves(result))


def _difference(found: Any, expected: Any) -> float:
    """The largest, over the tensors of a result, of ‖found − expected‖ / ‖expected‖."""
    pairs = list(zip(tree_leaves(found), tree_leaves(expected), strict=True))
    return max(_norm(a - b) / (_norm(b) or 1.0) for a, b in pairs)


def _norm(tensor: Tensor) -> float:
    return torch.linalg.vector_norm(tensor, dtype=torch.float32).item()
