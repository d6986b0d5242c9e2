"""How long a device takes for its work."""

import time
from collections.abc import Callable

import torch


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Seconds of doing it once, on average, after three times to warm up."""
    for _ in range(3):
        work()
    wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    wait(device)
    return (time.perf_counter() - started) / repeats


def host_seconds_of(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Seconds until the CPU can go on, on average, where the device has nothing else to do."""
    spent = 0.0
    for _ in range(repeats):
        wait(device)
        started = time.perf_counter()
        work()
        spent += time.perf_counter() - started
    wait(device)
    return spent / repeats


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
