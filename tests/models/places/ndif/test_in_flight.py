import threading
from concurrent.futures import CancelledError
from itertools import count, islice
from queue import Queue

import pytest

from toolkit.models.places.ndif.in_flight import in_background, in_flight, still_wanted


def test_results_come_in_the_order_of_the_items_though_the_first_is_done_last() -> None:
    later_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert later_is_done.wait(5)
        if item == 3:
            later_is_done.set()
        return 10 * item

    assert list(in_flight(work, range(8), at_once=4)) == [10 * item for item in range(8)]


def test_so_many_are_under_way_and_no_more() -> None:
    taken: list[int] = []
    items = (taken.append(item) or item for item in count())
    results = in_flight(lambda item: item, items, at_once=3)
    assert [next(results), len(taken)] == [0, 3]
    assert [next(results), len(taken)] == [1, 4]


def test_an_error_comes_in_its_place() -> None:
    results = in_flight(lambda item: 1 // item, [2, 1, 0, 1], at_once=4)
    assert list(islice(results, 2)) == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_stopping_does_not_wait_for_what_is_under_way() -> None:
    stop, never = threading.Event(), threading.Event()
    results = in_background(lambda: next(in_flight(lambda _: never.wait(), range(2), at_once=2, stop=stop)))
    stop.set()
    with pytest.raises(CancelledError):
        results.result(timeout=5)
    never.set()


def test_what_is_under_way_when_the_iteration_ends_is_no_longer_wanted() -> None:
    left, answers = threading.Event(), Queue[bool]()

    def ask() -> None:
        left.wait(5)
        answers.put(still_wanted())

    def work(item: int) -> int:
        if item:
            in_background(ask)
            ask()
        return item

    results = in_flight(work, range(2), at_once=2)
    assert next(results) == 0
    results.close()
    left.set()
    assert [answers.get(timeout=5), answers.get(timeout=5)] == [False, False], "its own, and what it began"
    assert still_wanted(), "the caller's is"


def test_what_was_awaited_was_wanted() -> None:
    assert all(in_flight(lambda _: still_wanted(), range(5), at_once=2))
