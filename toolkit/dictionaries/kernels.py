"""How Triton's kernels are started, and what they compute is compared with what torch does."""

import math
from typing import Any

import torch
from torch import Tensor


def launch(kernel: Any, programs: tuple[int, ...], first: Tensor, *others: Any, **constants: Any) -> None:
    """Start so many programs of a kernel on its tensors, the first argument among them.

    Triton takes the current device, which is not that of the weights where each model has a GPU of its own. It leaves
    it to the caller, from 3.10 on, to have multiplications and additions fused.
    """
    with torch.cuda.device_of(first):  # does nothing for a tensor on a CPU
        kernel[programs](first, *others, enable_fp_fusion=True, **constants)


def difference(found: Tensor, expected: Tensor) -> float:
    """Return ‖found − expected‖ / ‖expected‖; infinity in place of NaN, which `max` may pass over."""
    distance, norm = (torch.linalg.vector_norm(each, dtype=torch.float32) for each in (found - expected, expected))
    relative = distance.item() / (norm.item() or 1.0)
    return math.inf if math.isnan(relative) else relative


def failure(error: Exception) -> str:
    """Return what an error of a compiler or a driver says, in one line: they have many kinds, and much to say."""
    return f"failed ({type(error).__name__}: {next(iter(f'{error}'.strip().splitlines()), 'no message')})"
