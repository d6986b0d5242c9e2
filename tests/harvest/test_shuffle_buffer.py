import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from watching import Diary

from toolkit.harvest.feed import ShuffleBuffer
from toolkit.tracking import watched_by


def numbered(sizes: list[int], start: int = 0) -> Iterator[Tensor]:
    """Chunks [token, 2 streams, 3]; every number of token i is i + 1, so that a zero would show."""
    for size in sizes:
        yield torch.arange(start + 1, start + size + 1, dtype=torch.float32)[:, None, None].expand(-1, 2, 3)
        start += size


def make(source: Iterator[Tensor], capacity: int = 100, batch_tokens: int = 16, **options) -> ShuffleBuffer:
    options = {"dtype": torch.float32, "generator": torch.Generator().manual_seed(0)} | options
    return ShuffleBuffer(source, capacity=capacity, batch_tokens=batch_tokens, **options)


def labels(batches: Iterator[Tensor]) -> list[int]:
    """Which tokens were served; each must be whole."""
    served = torch.cat(list(batches))
    assert (served == served[:, :1, :1]).all()
    return [int(i) for i in served[:, 0, 0]]


@pytest.mark.parametrize("sizes", [[37] * 30, [1] * 120, [500, 3, 250], [40], [16], [0, 20, 0, 0, 300]])
def test_each_activation_is_served_exactly_once_and_in_another_order(sizes):
    served = labels(make(numbered(sizes)))
    assert sorted(served) == list(range(1, sum(sizes) + 1))
    assert served != sorted(served)


def test_filling_is_counted_for_who_watches():
    diary = Diary()
    with watched_by(diary):
        make(numbered([37] * 30)).fill()
        make(numbered([37, 3])).fill()
    assert diary.counts() == [("filling the buffer", 100, 100), ("filling the buffer", 40, 100)]


def test_an_empty_source_serves_nothing():
    buffer = make(iter([]))
    assert len(buffer.peek()) == 0
    assert list(buffer) == []


def test_batches_are_whole_until_the_last():
    sizes = [len(batch) for batch in make(numbered([50] * 5))]
    assert sizes == [16] * 15 + [10]


def test_the_buffer_is_refilled_all_along_and_a_batch_at_a_time():
    taken = 0

    def counted() -> Iterator[Tensor]:
        nonlocal taken
        for chunk in numbered([8] * 125):
            taken += 8
            yield chunk

    for step, _ in zip(range(50), make(counted()), strict=False):
        assert 100 <= taken - 16 * step < 100 + 8


def test_late_and_early_activations_share_batches():
    served = torch.tensor(labels(make(numbered([10] * 300), capacity=500, batch_tokens=100))).float()
    place = torch.arange(len(served))
    spread = (served - place).abs()[500:2000].mean()
    assert 250 < spread < 750  # mean of a geometric wait is the capacity; an unshuffled or stale buffer has about 0
    assert served[:100].std() > 100


def test_every_held_activation_is_as_likely_as_any_other():
    drawn = torch.zeros(20)
    for seed in range(2000):
        buffer = make(numbered([20]), capacity=20, batch_tokens=5, generator=torch.Generator().manual_seed(seed))
        first = next(iter(buffer))
        drawn[first[:, 0, 0].long() - 1] += 1
    assert ((drawn - 500).abs() < 5 * (2000 * 0.25 * 0.75) ** 0.5).all()


def test_chance_comes_from_the_generator():
    runs = [labels(make(numbered([90] * 3), generator=torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_bfloat16_halves_the_memory():
    bytes_held = []
    for dtype in (torch.float32, torch.bfloat16):
        buffer = make(numbered([64] * 4), dtype=dtype)
        assert next(iter(buffer)).dtype == dtype
        bytes_held.append(buffer.nbytes)
    assert bytes_held == [100 * 2 * 3 * 4, 100 * 2 * 3 * 2]


# In a process of its own: one that has freed memory before may serve the buffer from it, and grow by nothing.
MEASURED = """
import itertools, psutil, torch
from toolkit.harvest.feed import ShuffleBuffer
process, chunk, chance = psutil.Process(), torch.ones(256, 2, 128), torch.Generator().manual_seed(0)
for capacity in (512, 32 * 1024):  # the small one lets torch load what it needs
    before = process.memory_info().rss
    buffer = ShuffleBuffer(
        itertools.repeat(chunk, 160), capacity=capacity, batch_tokens=256, dtype=torch.float32, generator=chance
    )
    most = max(process.memory_info().rss for _ in buffer) - before
print(most, buffer.nbytes)
"""


def test_memory_is_what_was_asked_for():
    said = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True).stdout
    most, nbytes = map(int, said.split())
    assert nbytes == 32 * 1024 * 2 * 128 * 4
    assert most == pytest.approx(nbytes, rel=0.1)


def test_looking_takes_nothing():
    buffer = make(numbered([30] * 10))
    assert buffer.peek()[:, 0, 0].tolist() == list(range(1, 101))
    assert sorted(labels(buffer)) == list(range(1, 301))


@pytest.mark.parametrize(
    ("batches", "dtype"), [(0, torch.float32), (7, torch.float32), (7, torch.bfloat16), (14, torch.float32)]
)
def test_a_resumed_buffer_serves_the_same_batches_bit_for_bit(batches, dtype):
    sizes = [30] * 8  # a chunk is left pending at the first fill, and the source is used up after seven batches
    source = numbered(sizes)
    buffer = make(source, dtype=dtype)
    served = iter(buffer)
    for _ in range(batches):
        next(served)
    state = {name: tensor.clone() for name, tensor in buffer.state_dict().items()}
    rest = list(source)
    resumed = make(iter(rest), dtype=dtype, generator=torch.Generator())
    resumed.load_state_dict(state, torch.device("cpu"))

    buffer._source = iter(rest)
    expected, found = list(served), list(resumed)
    assert len(expected) == len(found) == 15 - batches
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
