"""Sparse products that are compared with the reference at their first call, and give way to it where they fail."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_leaves, tree_map

from toolkit.dictionaries.kernels import difference, failure
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
            differences = [(_largest_difference(each, expected), bound) for each, bound in found]
        except Exception as error:
            return self._give_up(failure(error), expected)
        for differs, bound in differences:
            if differs > bound:
                return self._give_up(f"differs by {differs:.2g} of the norm, more than {bound:g}", expected)
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
    norms = [torch.linalg.vector_norm(tensor, dtype=torch.float32) for tensor in tree_leaves(result)]
    return all(math.isfinite(norm.item()) for norm in norms)


def _largest_difference(found: Any, expected: Any) -> float:
    """The largest `difference` of a result's tensors."""
    return max(difference(*pair) for pair in zip(tree_leaves(found), tree_leaves(expected), strict=True))
