"""Batches for training, from shards of the text; each shard is read ahead, shuffled and drawn from by itself.

Shard s of n is every n-th document, with masks, a reading thread, a shuffle buffer and chance of its own. What it gives
depends neither on the other shards nor on which process reads it; a batch is as many activations of each.
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
    """Holds `capacity` activations in memory of fixed size; each batch is a random draw, and its places are filled
    again.

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
        """Take from the source what there is room for."""
        missing = self._capacity - self._filled
        for _ in track(self._taken(), "filling the buffer", "tokens", total=missing, size=len):
            pass

    def _taken(self) -> Iterator[Activations]:
        """What is taken from the source, chunk by chunk, until the buffer is full or the source ends."""
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
        """A batch of random rows; rows from the end move into the places they leave."""
        size = min(self._batch_tokens, self._filled)
        # int32 gives the order that int64 does, and a million places fit the processor's cache
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
        """What the filled buffer holds, without taking it: the first activations of the source."""
        self.fill()
        return torch.empty(0, 0, 0) if self._storage is None else self._storage[: self._filled]

    def state_dict(self) -> dict[str, Tensor]:
        """What is held, and the state of chance."""
        tensors = {"generator": self._generator.get_state()}
        if self._storage is not None:
            tensors["storage"] = self._storage[: self._filled]
        if self._pending is not None:
            tensors["pending"] = self._pending.clone()
        return tensors

    def load_state_dict(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        """Hold again what was held."""
        self._generator.set_state(tensors["generator"])
        if "storage" in tensors:
            held = tensors["storage"]
            self._filled = len(held)
            self._storage = torch.empty((self._capacity, *held.shape[1:]), dtype=self._dtype, device=device)
            self._storage[: self._filled] = held
        self._pending = tensors["pending"].to(device) if "pending" in tensors else None


class ShardState(NamedTuple):
    """Where a shard stands: its buffer's tensors, and its source's place as JSON."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]


class Feed:
    """Batches of the shards in `sources`, one shard after the other, until one of them has no whole share left.

    `states` are those of shards that were read before. Reading begins at once; `close` ends it, and frees the models.
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
        """Read on until the next batch can be drawn; where that fails, nothing was taken from any shard."""
        with self.stopwatch.stage("buffer"):
            for buffer in self._buffers.values():
                buffer.fill()

    def batches_left(self) -> int:
        """Batches that the shards still hold, once `fill` met the end of one of them; before that, `UNKNOWN`."""
        ending = [buffer.held for buffer in self._buffers.values() if buffer.drains]
        return min(ending) // self._shuffling.share if ending else UNKNOWN

    def peek(self, tokens: int) -> Activations:
        """The first activations of the shards, without taking them: of all shards at most `tokens`.

        Raises ValueError where a shard has less than its share of a batch.
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
        """Tokens kept, and dropped by reason, and documents, up to the last activation that entered a buffer."""
        counts: Counter[str] = Counter()
        for ahead in self._ahead.values():
            counts.update(ahead.state_dict()["mask"]["counts"])
        return dict(counts)

    @property
    def reading_seconds(self) -> dict[str, float]:
        """Seconds by stage in the reading threads, which overlap with each other and with all else; 0 if none."""
        seconds: defaultdict[str, float] = defaultdict(float)
        for source in self._sources.values():
            for stage, spent in source.stopwatch.seconds.items():
                seconds[stage] += spent
        return seconds

    def state_dict(self) -> dict[int, ShardState]:
        """Where each shard stands."""
        return {
            shard: ShardState(buffer.state_dict(), self._ahead[shard].state_dict())
            for shard, buffer in self._buffers.items()
        }

    def close(self) -> None:
        """Stop reading ahead and wait until the models are free; raises DiskFullError as `Prefetch.close` does."""
        with ExitStack() as all_of_them:
            for ahead in self._ahead.values():
                all_of_them.callback(ahead.close)


class _Reader:
    """A source read in turns with others, for a model runs one pass at a time; on a GPU beside the training's work."""

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
        if chunk.is_cuda:  # its memory is the reader's stream's: not to be reused before this one is done with it
            chunk.record_stream(torch.cuda.current_stream(chunk.device))
        yield chunk
