"""Adds up where the time goes."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str, *, within: str | None = None) -> Iterator[None]:
        """Add the time spent inside to `name`, and take it off the stage that it is `within`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] += spent
            if within is not None:
                self.seconds[within] -= spent

    def waiting(self, name: str, items: Iterable[T], *, within: str | None = None) -> Iterator[T]:
        """Pass items on, and add the time spent waiting for them to `name`, as `stage` does."""
        iterator = iter(items)
        while True:
            with self.stage(name, within=within):
                item = next(iterator, None)
            if item is None:
                return
            yield item
