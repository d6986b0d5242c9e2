"""Runs several pieces of work that wait for a server at once, and yields their results in order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, wait
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
LOOK_UP = 0.1
_ENDED: ContextVar[tuple[threading.Event, ...]] = ContextVar("_ENDED", default=())


def still_wanted() -> bool:
    """Whether a caller may still ask for the result of the work that this thread does for `in_flight`."""
    return not any(ended.is_set() for ended in _ENDED.get())


def in_background(work: Callable[[], Result], *ended: threading.Event) -> "Future[Result]":
    """Do work in a thread of its own, which never keeps the program from ending.

    The work is wanted as long as the caller's own work is, and no event of `ended` is set.
    """
    future: Future[Result] = Future()
    all_ended = (*_ENDED.get(), *ended)

    def run() -> None:
        _ENDED.set(all_ended)
        try:
            future.set_result(work())
        except BaseException as error:  # handed to the one who waits
            future.set_exception(error)

    threading.Thread(target=run, name="in flight", daemon=True).start()
    return future


def in_flight(
    work: Callable[[Item], Result], items: Iterable[Item], at_once: int, stop: threading.Event | None = None
) -> Iterator[Result]:
    """Yield the results of `work` in the order of the items; `at_once` of them run at the same time.

    An error is raised where its result would have come. Raises `CancelledError` as soon as `stop` is set. Work that is
    running when the iteration ends is no longer wanted.
    """
    under_way: deque[Future[Result]] = deque()
    ended = threading.Event()
    try:
        for item in items:
            under_way.append(in_background(partial(work, item), ended))
            if len(under_way) == at_once:
                yield _awaited(under_way.popleft(), stop)
        while under_way:
            yield _awaited(under_way.popleft(), stop)
    finally:
        ended.set()


def _awaited(future: "Future[Result]", stop: threading.Event | None) -> Result:
    while not wait([future], timeout=LOOK_UP).done:
        if stop is not None and stop.is_set():
            raise CancelledError
    return future.result()
