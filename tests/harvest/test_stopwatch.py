import time
from contextlib import suppress

from toolkit.harvest.stopwatch import Stopwatch


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
