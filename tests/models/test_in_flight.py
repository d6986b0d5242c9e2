import threading
from concurrent.futures import CancelledError
from itertools import count, islice

import pytest

from toolkit.models.in_flight import in_background, in_flight


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
