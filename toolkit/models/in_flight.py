"""Work that waits for others, several pieces at once, its results in order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, wait
from functools import partial
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
LOOK_UP = 0.1


def in_background(work: Callable[[], Result]) -> "Future[Result]":
    """Do work in a thread of its own, which ends with the program whatever it waits for."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # handed to the one who waits
            future.set_exception(error)

    threading.Thread(target=run, name="in flight", daemon=True).start()
    return future


def in_flight(
    work: Callable[[Item], Result], items: Iterable[Item], at_once: int, stop: threading.Event | None = None
) -> Iterator[Result]:
    """Yield the results of `work` in the order of the items, `at_once` of them under way while the first is awaited.

    An error comes where its result would have. Raises `CancelledError` once `stop` is set, without waiting on.
    """
    under_way: deque[Future[Result]] = deque()
    for item in items:
        under_way.append(in_background(partial(work, item)))
        if len(under_way) == at_once:
            yield _awaited(under_way.popleft(), stop)
    while under_way:
        yield _awaited(under_way.popleft(), stop)


def _awaited(future: "Future[Result]", stop: threading.Event | None) -> Result:
    while not wait([future], timeout=LOOK_UP).done:
        if stop is not None and stop.is_set():
            raise CancelledError
    return future.result()
