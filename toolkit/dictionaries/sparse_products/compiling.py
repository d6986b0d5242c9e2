"""How loops over scores and over sparse patterns are compiled by numba, and shared out among threads.

numba keeps what it compiled until the file of the function itself changes. Who changes what is compiled in from here,
`CACHE_LINE`, `SUMS_MAY` and `to_all_lanes`, deletes the `*.nbi` in `__pycache__`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir

Array = np.ndarray[Any, Any]

SUMS_MAY = {"reassoc", "contract", "nsz"}  # be vectorised; NaN and infinity stay, as the trainer looks for them
CACHE_LINE = 16  # numbers
LEAST_WORK = 1_000_000  # numbers, below which threads take longer to start than to work


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call, and keep the result on the disk where a folder can be written."""
    options = {"nogil": True, "fastmath": SUMS_MAY, "error_model": "numpy"}
    try:
        return numba.njit(function, cache=True, **options)
    except RuntimeError:  # numba found no such folder
        return numba.njit(function, **options)


def to_all_lanes(build: Any, number: Any, lanes: ir.VectorType) -> Any:
    """Return LLVM's vector with the number in each lane."""
    integer = ir.IntType(32)
    unset, first = ir.Constant(lanes, ir.Undefined), ir.Constant(ir.VectorType(integer, lanes.count), [0] * lanes.count)
    return build.shuffle_vector(build.insert_element(unset, number, ir.Constant(integer, 0)), unset, first)


def threads_for(work: int) -> int:
    """Threads for this many numbers to read."""
    return torch.get_num_threads() if work >= LEAST_WORK else 1


def shared_out(loop: Callable[..., Any], given: Sequence[Any], bounds: Sequence[int]) -> list[Any]:
    """Run the loop on each stretch between bounds and return what each gave, in threads of this call alone: none is
    left that a fork would lack."""
    stretches = [stretch for stretch in pairwise(bounds) if stretch[0] < stretch[1]]
    if len(stretches) <= 1:
        return [loop(*given, *stretch) for stretch in stretches]
    with ThreadPoolExecutor(len(stretches)) as threads:
        return list(threads.map(lambda stretch: loop(*given, *stretch), stretches))
