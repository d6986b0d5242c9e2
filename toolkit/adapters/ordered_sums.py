"""torch's switch for algorithms that take each sum in one order, so that a step has the same bits each time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
"""The variable by which torch sees at each product that cuBLAS keeps one order."""


@contextmanager
def ordered_sums(wanted: bool) -> Iterator[None]:
    """Let torch take every sum in one order inside the block, if that is wanted; it refuses what it knows no way for.

    On a GPU the backward pass of attention adds in whatever order its blocks end, unless the switch is on.
    """
    if not wanted:
        yield
        return
    filling = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    os.environ.setdefault(CUBLAS, ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # it takes time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = filling  # type: ignore[attr-defined]
