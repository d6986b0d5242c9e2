"""How many operations a second a device does in matrix products."""

import time

import torch


def matrix_rate(device: torch.device, dtype: torch.dtype, *, size: int = 0, seconds: float = 0.5) -> float:
    """Operations a second in products of square matrices, timed for `seconds` after a warm-up.

    `size` is the matrices' side; by default one that keeps the device busy.
    """
    side = size or (8192 if device.type == "cuda" else 1024)
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    out = torch.mm(left, right)
    _finish(device)
    started, products = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds or not products:
        torch.mm(left, right, out=out)
        _finish(device)
        products += 1
    return products * 2 * side**3 / spent


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
