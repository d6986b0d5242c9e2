"""Progress of long work: the code that does the work counts what is done, and a watcher may show the counts."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


@dataclass(eq=False)
class Pass:
    """One loop over items of work; a loop inside it is a pass of its own."""

    what: str
    """The name of the work, such as "reading text"."""
    unit: str
    """What is counted, in the plural: "tokens"."""
    total: int | None
    """How many of them there are in all, where that is known."""
    done: int = 0
    current: int = 0
    """How many of them the item that is being worked on counts for."""


@runtime_checkable
class Watcher(Protocol):
    """Is called in the thread that does the work, when passes begin and end; meanwhile it may read their counts."""

    def begin(self, work: Pass) -> None:
        """Called when a pass begins; passes that have begun and not ended enclose it."""

    def end(self, work: Pass) -> None:
        """Called when a pass has ended, or was left early."""

    def say(self, text: str) -> None:
        """Called with a line that is to be read before the work is done."""


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)  # other threads have none


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Report the passes inside the block, in this thread, to `watcher`."""
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)


def is_watched() -> bool:
    """Whether progress is shown."""
    return _watcher.get() is not None


def say(text: str) -> None:
    """Tell whoever watches the work a line that is to be read before it is done, such as what it will cost."""
    if watcher := _watcher.get():
        watcher.say(text)


def one(_: Any) -> int:
    """Return 1: each item counts as one."""
    return 1


def track(
    items: Iterable[T], what: str, unit: str, *, total: int | None = None, size: Callable[[T], int] = one
) -> Iterator[T]:
    """Yield the items, and count for a watcher those that are done; an item is done when the next is asked for.

    `total` is by default the number of items, where that is known; `size` returns how many units an item counts for.
    """
    watcher = _watcher.get()
    if watcher is None:
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    work = Pass(what, unit, total)
    watcher.begin(work)
    try:
        for item in items:
            work.current = size(item)
            yield item
            work.done, work.current = work.done + work.current, 0
    finally:
        watcher.end(work)


class Stopwatch:
    """Measures the seconds that each stage of work takes."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str, *, within: str | None = None) -> Iterator[None]:
        """Add the time spent in the block to stage `name`, and subtract it from the stage `within`, if one is given."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] += spent
            if within is not None:
                self.seconds[within] -= spent

    def waiting(self, name: str, items: Iterable[T], *, within: str | None = None) -> Iterator[T]:
        """Yield the items, and add the time spent waiting for them to stage `name`, as `stage` does."""
        iterator = iter(items)
        while True:
            with self.stage(name, within=within):
                item = next(iterator, None)
            if item is None:
                return
            yield item
