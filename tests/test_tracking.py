import time
from contextlib import suppress

import pytest
from watching import Diary

from toolkit.tracking import Stopwatch, is_watched, say, track, watched_by


def test_without_a_watcher_items_pass_and_nothing_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert not is_watched()
    assert list(track(iter("abc"), "reading", "letters")) == ["a", "b", "c"]
    assert capfd.readouterr() == ("", "")


def test_an_item_is_done_when_the_next_is_asked_for() -> None:
    diary, states = Diary(), []
    with watched_by(diary):
        for item in track(["a", "bcd"], "reading", "letters", total=4, size=len):
            [work] = diary.begun
            states.append((item, work.done, work.current, work.total))
    assert states == [("a", 0, 1, 4), ("bcd", 1, 3, 4)]
    assert (work.done, work.current) == (4, 0)
    assert diary.ended == [work]


def test_the_total_is_the_number_of_items_where_they_have_one() -> None:
    diary = Diary()
    with watched_by(diary):
        list(track([1, 2, 3], "reading", "numbers"))
        list(track(iter([1, 2, 3]), "reading", "numbers"))
    assert [work.total for work in diary.begun] == [3, None]


def test_a_pass_that_fails_ends() -> None:
    diary = Diary()
    with watched_by(diary):
        counted = track([1, 2], "reading", "numbers")
        next(counted)
        counted.close()
    assert diary.ended == diary.begun


def test_the_watcher_of_a_block_inside_gives_way_to_the_one_outside() -> None:
    outer, inner = Diary(), Diary()
    with watched_by(outer):
        with watched_by(inner):
            list(track([1], "inside", "numbers"))
        list(track([1], "outside", "numbers"))
    assert [work.what for work in inner.begun] == ["inside"]
    assert [work.what for work in outer.begun] == ["outside"]


def test_a_line_is_told_to_whoever_watches_and_else_to_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    diary = Diary()
    with watched_by(diary):
        say("it costs 3")
    say("nobody hears it")
    assert diary.said == ["it costs 3"]
    assert capfd.readouterr() == ("", "")


def test_a_stage_is_timed_even_when_it_fails_and_times_add_up():
    watch = Stopwatch()
    with watch.stage("work"):
        time.sleep(0.02)
    with suppress(KeyError), watch.stage("work"):
        time.sleep(0.02)
        raise KeyError
    assert 0.04 <= watch.seconds["work"] < 0.5


def test_waiting_counts_the_producer_alone_and_passes_every_item():
    def slow():
        for i in range(3):
            time.sleep(0.01)
            yield i

    watch = Stopwatch()
    items = []
    for item in watch.waiting("producer", slow()):
        time.sleep(0.1)
        items.append(item)
    assert items == [0, 1, 2]
    assert 0.03 <= watch.seconds["producer"] < 0.2
