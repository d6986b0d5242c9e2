"""Times several ways of doing a thing, taking turns in one run, so that a busy machine is busy for all of them."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch


def time_in_turn(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return each way's median CPU seconds on one thread, after a round of warm-up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for _ in range(1 + rounds):
            for name, way in ways.items():
                started = time.process_time()
                way()
                spent[name].append(time.process_time() - started)
    finally:
        torch.set_num_threads(threads)
    return {name: median(taken[1:]) for name, taken in spent.items()}
