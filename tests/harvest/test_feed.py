import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.artifacts import DiskFullError
from toolkit.harvest.choices import Shuffling
from toolkit.harvest.feed import Feed, ShardState
from toolkit.tracking import Stopwatch

CPU = torch.device("cpu")


class Numbers:
    """A source of the numbers of one shard of all: `shard`, `shard` + `shards`, …, as activations."""

    reading = 0
    most_at_once = 0

    def __init__(self, shard: int, shards: int, chunks: int = 40) -> None:
        self.shard, self.shards, self.chunks, self.done = shard, shards, chunks, 0
        self.stopwatch = Stopwatch()
        self.stopwatch.seconds["reading"] = 0.5

    def __iter__(self) -> Iterator[Tensor]:
        while self.done < self.chunks:
            Numbers.reading += 1
            Numbers.most_at_once = max(Numbers.most_at_once, Numbers.reading)
            time.sleep(0.0005)  # for others to come in, if they may
            numbers = torch.arange(7 * self.done, 7 * (self.done + 1)) * self.shards + self.shard
            self.done += 1
            Numbers.reading -= 1
            yield numbers.float()[:, None, None].expand(-1, 2, 3)

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done, "mask": {"counts": {"kept": 7 * self.done, "padding": self.shard}}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.done = state["done"]

    def close(self) -> None:
        pass


class Storing(Numbers):
    """Finds the disk full when it stores what it read last."""

    def __iter__(self) -> Iterator[Tensor]:
        try:
            yield from super().__iter__()
        finally:
            raise DiskFullError(28, f"no room for shard {self.shard}")


def shuffling(shards: int, **changes: int) -> Shuffling:
    settings = {"buffer_tokens": 60, "batch_tokens": 12, "seed": 0} | changes
    return Shuffling(shards=shards, dtype="fp32", **settings)


def open_feed(own: list[int], shards: int, states=None, **changes: int) -> Feed:
    return Feed({shard: Numbers(shard, shards) for shard in own}, shuffling(shards, **changes), CPU, states)


def served(feed: Feed, batches: int | None = None) -> list[list[int]]:
    return [[int(number) for number in batch[:, 0, 0]] for batch in islice(feed, batches)]


def test_a_batch_takes_as_many_of_each_shard_and_none_twice():
    feed = open_feed([0, 1, 2], 3)
    batches = served(feed)
    feed.close()
    assert {len(batch) for batch in batches} == {12}
    for batch in batches:
        assert [number % 3 for number in batch] == [0] * 4 + [1] * 4 + [2] * 4
    numbers = [number for batch in batches for number in batch]
    assert sorted(numbers) == list(range(3 * 7 * 40))


def test_what_a_shard_gives_depends_on_no_other():
    together, apart = open_feed([0, 1], 2), [open_feed([shard], 2) for shard in (0, 1)]
    whole, parts = served(together), [served(feed) for feed in apart]
    for feed in (together, *apart):
        feed.close()
    assert whole == [first + second for first, second in zip(*parts, strict=True)]
    assert parts[0] != [[number - 1 for number in batch] for batch in parts[1]]  # each has its own chance


def test_it_ends_with_the_first_shard_that_has_no_whole_share_left():
    sources = {0: Numbers(0, 2), 1: Numbers(1, 2, chunks=10)}
    feed = Feed(sources, shuffling(2), CPU)
    assert len(served(feed)) == 70 // 6
    feed.close()


@pytest.mark.parametrize("done", [0, 5, 46])
def test_shards_go_on_in_another_process_as_they_would_have(done):
    feed = open_feed([0, 1], 2)
    served(feed, done)
    states = {
        shard: ShardState({name: tensor.clone() for name, tensor in held.tensors.items()}, held.state)
        for shard, held in feed.state_dict().items()
    }
    rest = served(feed)
    feed.close()
    resumed = [open_feed([shard], 2, {shard: states[shard]}) for shard in (0, 1)]
    assert [first + second for first, second in zip(*map(served, resumed), strict=True)] == rest
    for one in resumed:
        one.close()


class Failing(Numbers):
    """One that cannot go on after some chunks."""

    def __iter__(self) -> Iterator[Tensor]:
        yield from islice(super().__iter__(), 20)
        raise ConnectionError("gone")


def test_what_one_shard_cannot_read_costs_no_shard_anything():
    feed = Feed({0: Numbers(0, 2), 1: Failing(1, 2)}, shuffling(2), CPU)
    batches = []

    def draw_on() -> None:
        while True:
            feed.fill()
            batches.extend(served(feed, 1))

    with pytest.raises(ConnectionError, match="gone"):
        draw_on()
    resumed = open_feed([0, 1], 2, feed.state_dict())
    whole = open_feed([0, 1], 2)
    assert batches
    assert batches + served(resumed) == served(whole)
    for each in (feed, resumed, whole):
        each.close()


def test_looking_takes_nothing_and_shows_the_first_of_each_shard():
    feed = open_feed([0, 1], 2)
    assert feed.peek(20)[:, 0, 0].tolist() == [*range(0, 20, 2), *range(1, 20, 2)]
    assert feed.peek(2)[:, 0, 0].tolist() == [*range(0, 12, 2), *range(1, 12, 2)]  # a batch at least
    assert len(served(feed)) == 46
    feed.close()


def test_counts_and_seconds_are_of_all_shards_here():
    feed = open_feed([1, 2], 3)
    served(feed)
    assert feed.masks == {"kept": 2 * 280, "padding": 3}
    assert feed.reading_seconds == {"reading": 1.0}
    assert feed.stopwatch.seconds["buffer"] >= feed.stopwatch.seconds["waiting for activations"] > 0
    feed.close()


def test_models_are_read_by_one_shard_at_a_time():
    Numbers.most_at_once = 0
    feed = open_feed([0, 1, 2, 3], 4)
    served(feed)
    feed.close()
    assert Numbers.most_at_once == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "harvest"]


def test_all_shards_are_closed_before_an_error_is_told():
    feed = Feed({shard: Storing(shard, 2) for shard in (0, 1)}, shuffling(2), CPU)
    feed.peek(10)
    with pytest.raises(DiskFullError, match="no room for shard"):
        feed.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "harvest"]


def test_a_shard_without_a_batch_of_text_is_named():
    feed = Feed({1: Numbers(1, 2, chunks=0)}, shuffling(2), CPU)
    with pytest.raises(ValueError, match="shard 1 of 2 of the data holds 0 ordinary tokens, and one batch takes 6"):
        feed.peek(10)
    feed.close()


def test_a_buffer_that_holds_no_batch_is_refused_whatever_the_shards():
    with pytest.raises(ValueError, match="--buffer-tokens 8 is less than one batch of 12: raise it"):
        shuffling(2, buffer_tokens=8)
    assert shuffling(2, buffer_tokens=12).share == 6


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="--batch-tokens 12 does not divide by 5 shards: make it a multiple"):
        shuffling(5)
