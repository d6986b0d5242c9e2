"""Batches of activations for training, from shards of the text; each shard is read ahead and shuffled by itself.

Shard s of n is every n-th document, with masks, a reading thread, a shuffle buffer and a random generator of its own.
Its activations depend neither on the other shards nor on which process reads it; a batch takes as many from each.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, nullcontext
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.harvest.activations import ActivationSource, Prefetch
from toolkit.harvest.cache_shards import DTYPES
from toolkit.harvest.choices import Shuffling
from toolkit.tracking import Stopwatch, track

Activations = Float[Tensor, "token stream d_model"]
STRIDE = 1_000_003  # between the seeds of two shards
UNKNOWN = 2**62  # batches left while no shard has ended: more than any run takes


class ShuffleBuffer:
    """Holds `capacity` activations in memory of fixed size; batches are random draws, and their places are refilled.

    Only the places of one batch are refilled at a time, so after the first filling the trainer never waits for more
    than a batch. When the source ends, the buffer drains; the last batch may be short.
    """

    def __init__(
        self,
        source: Iterator[Activations],
        *,
        capacity: int,
        batch_tokens: int,
        dtype: torch.dtype,
        generator: torch.Generator,
    ) -> None:
        assert capacity >= batch_tokens
        self._source, self._capacity, self._batch_tokens = source, capacity, batch_tokens
        self._dtype, self._generator = dtype, generator
        self._storage: Tensor | None = None
        self._filled = 0
        self._pending: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Memory that the stored activations take."""
        return 0 if self._storage is None else self._storage.nbytes

    @property
    def held(self) -> int:
        """Activations that can be drawn without reading."""
        return self._filled

    @property
    def drains(self) -> bool:
        """Whether the source ended: `fill` could not fill the buffer."""
        return self._filled < self._capacity

    def __iter__(self) -> Iterator[Activations]:
        while True:
            self.fill()
            if self._storage is None or not self._filled:
                return
            yield self._draw(self._storage)

    def fill(self) -> None:
        """Take activations from the source until the buffer is full or the source ends."""
        missing = self._capacity - self._filled
        for _ in track(self._taken(), "filling the buffer", "tokens", total=missing, size=len):
            pass

    def _taken(self) -> Iterator[Activations]:
        """Yield what is taken from the source, chunk by chunk, until the buffer is full or the source ends."""
        while self._filled < self._capacity:
            if self._pending is None:
                chunk = next(self._source, None)
                if chunk is None:
                    return
                self._pending = chunk
            if self._storage is None:
                self._storage = torch.empty(
                    (self._capacity, *self._pending.shape[1:]), dtype=self._dtype, device=self._pending.device
                )
            taken = self._pending[: self._capacity - self._filled]
            self._storage[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            self._pending = self._pending[len(taken) :] if len(taken) < len(self._pending) else None
            yield taken

    def _draw(self, storage: Tensor) -> Tensor:
        """Return a batch of random rows; rows from the end of the buffer fill the places of the drawn ones."""
        size = min(self._batch_tokens, self._filled)
        # int32 has the order of int64, and a million places fit the processor's cache
        chosen = torch.randperm(self._filled, generator=self._generator, dtype=torch.int32)[:size].long()
        left = self._filled - size
        stays = torch.ones(size, dtype=torch.bool)
        stays[chosen[chosen >= left] - left] = False
        movers = stays.nonzero().squeeze(1) + left
        holes = chosen[chosen < left]
        batch = storage.index_select(0, chosen.to(storage.device))
        storage.index_copy_(0, holes.to(storage.device), storage.index_select(0, movers.to(storage.device)))
        self._filled = left
        return batch

    def peek(self) -> Activations:
        """Return what the filled buffer holds, without taking it: the first activations of the source."""
        self.fill()
        return torch.empty(0, 0, 0) if self._storage is None else self._storage[: self._filled]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the activations that are held, and the state of the random generator."""
        tensors = {"generator": self._generator.get_state()}
        if self._storage is not None:
            tensors["storage"] = self._storage[: self._filled]
        if self._pending is not None:
            tensors["pending"] = self._pending.clone()
        return tensors

    def load_state_dict(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        """Restore what `state_dict` returned."""
        self._generator.set_state(tensors["generator"])
        if "storage" in tensors:
            held = tensors["storage"]
            self._filled = len(held)
            self._storage = torch.empty((self._capacity, *held.shape[1:]), dtype=self._dtype, device=device)
            self._storage[: self._filled] = held
        self._pending = tensors["pending"].to(device) if "pending" in tensors else None


class ShardState(NamedTuple):
    """The state of a shard: its buffer's tensors, and its source's place as JSON."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]


class Feed:
    """Yields batches that hold a share from each shard in `sources`, until a shard has no whole share left.

    `states` are those of shards that were read before. Threads read from the start; `close` ends them.
    """

    def __init__(
        self,
        sources: Mapping[int, ActivationSource],
        shuffling: Shuffling,
        device: torch.device,
        states: Mapping[int, ShardState] | None = None,
    ) -> None:
        self._shuffling, self._sources = shuffling, sources
        self.stopwatch = Stopwatch()
        for shard, before in (states or {}).items():
            sources[shard].load_state_dict(before.state)
        turn = threading.Lock()
        self._ahead = {shard: Prefetch(_Reader(source, turn, device)) for shard, source in sources.items()}
        self._buffers = {shard: self._buffer(shard) for shard in sources}
        for shard, before in (states or {}).items():
            self._buffers[shard].load_state_dict(before.tensors, device)

    def _buffer(self, shard: int) -> ShuffleBuffer:
        shuffling = self._shuffling
        return ShuffleBuffer(
            self.stopwatch.waiting("waiting for activations", _taken_over(self._ahead[shard])),
            capacity=shuffling.buffer_tokens // shuffling.shards,
            batch_tokens=shuffling.share,
            dtype=DTYPES[shuffling.dtype],
            generator=torch.Generator().manual_seed(shuffling.seed + shard * STRIDE),
        )

    def __iter__(self) -> Iterator[Activations]:
        drawn = zip(*self._buffers.values(), strict=False)
        with self.stopwatch.stage("buffer"):
            parts = next(drawn, None)
        while parts is not None and all(len(part) == self._shuffling.share for part in parts):
            yield torch.cat(parts) if len(parts) > 1 else parts[0]
            with self.stopwatch.stage("buffer"):
                parts = next(drawn, None)

    def fill(self) -> None:
        """Read until the next batch can be drawn; where that fails, nothing was taken from any shard."""
        with self.stopwatch.stage("buffer"):
            for buffer in self._buffers.values():
                buffer.fill()

    def batches_left(self) -> int:
        """Return how many batches the shards still hold; `UNKNOWN` until `fill` has met the end of one of them."""
        ending = [buffer.held for buffer in self._buffers.values() if buffer.drains]
        return min(ending) // self._shuffling.share if ending else UNKNOWN

    def peek(self, tokens: int) -> Activations:
        """Return the first activations of the shards without taking them: at most `tokens` over all shards.

        Raises `ValueError` where a shard has less than its share of a batch.
        """
        looks = [
            buffer.peek()[: max(self._shuffling.share, tokens // self._shuffling.shards)]
            for buffer in self._buffers.values()
        ]
        for shard, look in zip(self._buffers, looks, strict=True):
            if len(look) < self._shuffling.share:
                raise ValueError(self._too_little(shard, len(look)))
        return torch.cat(looks) if len(looks) > 1 else looks[0]

    def _too_little(self, shard: int, held: int) -> str:
        shards = self._shuffling.shards
        data = "the data hold" if shards == 1 else f"shard {shard} of {shards} of the data holds"
        return (
            f"{data} {held} ordinary tokens, and one batch takes {self._shuffling.share}: give more or longer text"
            " (position 0 of each document is masked), or lower --batch-tokens"
        )

    @property
    def masks(self) -> dict[str, int]:
        """Return counts of tokens kept, tokens dropped by reason, and documents, up to the last one in a buffer."""
        counts: Counter[str] = Counter()
        for ahead in self._ahead.values():
            counts.update(ahead.state_dict()["mask"]["counts"])
        return dict(counts)

    @property
    def reading_seconds(self) -> dict[str, float]:
        """Return the seconds of each stage in the reading threads, which run beside each other and all else."""
        seconds: defaultdict[str, float] = defaultdict(float)
        for source in self._sources.values():
            for stage, spent in source.stopwatch.seconds.items():
                seconds[stage] += spent
        return seconds

    def state_dict(self) -> dict[int, ShardState]:
        """Return the state of each shard."""
        return {
            shard: ShardState(buffer.state_dict(), self._ahead[shard].state_dict())
            for shard, buffer in self._buffers.items()
        }

    def close(self) -> None:
        """Stop reading ahead, and wait for the threads; raises `DiskFullError` as `Prefetch.close` does."""
        with ExitStack() as all_of_them:
            for ahead in self._ahead.values():
                all_of_them.callback(ahead.close)


class _Reader:
    """A source that waits for its turn, as a model runs one pass at a time; on a GPU it reads while training runs."""

    def __init__(self, source: ActivationSource, turn: threading.Lock, device: torch.device) -> None:
        self._source, self._turn, self._device = source, turn, device
        self.stopwatch = source.stopwatch
        self.state_dict, self.load_state_dict, self.close = source.state_dict, source.load_state_dict, source.close

    def __iter__(self) -> Generator[Activations, None, None]:
        stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        with closing(iter(self._source)) as chunks:
            while True:
                with self._turn, nullcontext() if stream is None else torch.cuda.stream(stream):
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                if stream is not None:
                    stream.synchronize()
                yield chunk


def _taken_over(chunks: Prefetch) -> Iterator[Activations]:
    for chunk in chunks:
        if chunk.is_cuda:  # allocated on the reader's CUDA stream, which must not reuse it before this one is done
            chunk.record_stream(torch.cuda.current_stream(chunk.device))
        yield chunk
