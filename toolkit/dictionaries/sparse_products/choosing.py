"""Which implementation of the sparse products a training step takes."""

import os
import warnings
from functools import cache
from importlib.util import find_spec

import torch

from toolkit.dictionaries.configs import Kernels, TrainingConfig
from toolkit.dictionaries.rules import RULES
from toolkit.dictionaries.sparse_products.ordered import ORDERED
from toolkit.dictionaries.sparse_products.plain import PLAIN
from toolkit.dictionaries.sparse_products.products import SparseProducts
from toolkit.library_warnings import ToolkitWarning

BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
FEW = 8
"""Nonzeros above which a trial of the kernels splits rows, so that a first batch has such rows."""


def products_of(training: TrainingConfig, device: torch.device, dtype: torch.dtype = torch.float32) -> SparseProducts:
    """Return what the settings ask for, as `products_for` does; for rules without such products, torch's, unchecked."""
    takes_them = RULES[training.sparsity] == "k"
    return products_for(device, training.kernels, dtype) if takes_them else PLAIN


def products_for(device: torch.device, kernels: Kernels = "auto", dtype: torch.dtype = torch.float32) -> SparseProducts:
    """Return the implementation for weights on this device and large products of this type; auto is what is known to be
    fastest there.

    Raises `ValueError` for triton where it cannot run.
    """
    if kernels == "auto" and device.type == "cpu" and find_spec("numba"):
        return _compiled()
    if kernels != "triton":
        return ORDERED if kernels == "ordered" else PLAIN
    if find_spec("triton") is None:
        raise ValueError(
            "kernels triton: the package triton is not installed, as it is with torch for CUDA: give torch"
        )
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"kernels triton: it compiles for CUDA devices, and the weights are on {device}: give torch")
    return _checked_triton(device, dtype)


@cache
def _compiled() -> SparseProducts:
    """One for a process, so that it warns once."""
    try:
        from toolkit.dictionaries.sparse_products.compiled import COMPILED  # to import numba takes most of a second
    except ImportError as error:  # numba refuses a numpy that is newer than it knows
        warnings.warn(
            f"numba cannot be imported ({error}): torch computes the products of the codes that fire, more slowly;"
            " install a numba that suits numpy",
            ToolkitWarning,
            stacklevel=4,
        )
        return PLAIN
    return COMPILED


@cache
def _checked_triton(device: torch.device, dtype: torch.dtype) -> SparseProducts:
    """One for each device and type of a process, so that its first step alone is compared with the reference."""
    from toolkit.dictionaries.sparse_products.checked import Trial, checked
    from toolkit.dictionaries.sparse_products.triton import triton_products  # needs a package that few CPUs have

    trials = [Trial(triton_products(dtype), BOUNDS[dtype]), Trial(triton_products(dtype, split=FEW), BOUNDS[dtype])]
    if dtype != torch.float32:
        trials.append(Trial(triton_products(torch.float32), BOUNDS[torch.float32]))
    return checked(trials, "kernels triton")
