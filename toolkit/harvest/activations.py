"""Reads the models' residual streams on batches of ids, without masked tokens; a thread may read ahead."""

import queue
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.artifacts import DiskFullError
from toolkit.devices import sent
from toolkit.harvest.choices import AHEAD
from toolkit.harvest.tokens import TokenBatch, TokenMask, TokenStream
from toolkit.models.model_set import ModelSet
from toolkit.models.places.ndif.transport import RemoteJobError
from toolkit.models.places.place import Rows
from toolkit.tracking import Stopwatch


@runtime_checkable
class ActivationSource(Protocol):
    """Yields chunks of raw activations in an order of its own, from the place that `state_dict` names."""

    stopwatch: Stopwatch

    def __iter__(self) -> Generator[Float[Tensor, "token stream d_model"], None, None]: ...
    def state_dict(self) -> dict[str, Any]:
        """Where the source stands, as JSON; `mask` holds the counts of kept and dropped tokens."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the place in `state`."""

    def close(self) -> None:
        """Make an iteration in another thread end soon."""


@dataclass(frozen=True)
class ReadBatch:
    """A batch of ids, which of its tokens are selected, and the activations of those, row after row."""

    batch: TokenBatch
    selected: Bool[Tensor, "row position"]
    activations: Float[Tensor, "token stream d_model"]


def read_batches(
    models: ModelSet,
    batches: Iterable[TokenBatch],
    mask: TokenMask,
    *,
    stop: threading.Event | None = None,
    stopwatch: Stopwatch | None = None,
) -> Iterator[ReadBatch]:
    """Yield each batch with the models' activations in raw units; ids, positions and norms decide which tokens count.

    Batches may be taken ahead of those that were yielded; the mask counts only the yielded ones. `stop` ends the
    waiting for jobs on NDIF with `CancelledError`. `stopwatch` keeps "tokenizing" and "masks" apart from "reading
    activations".
    """
    watch = stopwatch or Stopwatch()

    def asked() -> Iterator[tuple[tuple[TokenBatch, Tensor, Counter[str]], Rows]]:
        for batch in watch.waiting("tokenizing", batches, within="reading activations"):
            with watch.stage("masks", within="reading activations"):
                tokens, dropped = mask.judge(batch)
            yield (batch, tokens, dropped), (batch.input_ids, batch.attention_mask, tokens)

    reads = models.selected_each(asked(), stop)
    for (batch, tokens, dropped), activations in watch.waiting("reading activations", reads):
        with watch.stage("masks"):
            mask.counts.update(dropped)
            keep = mask.norms(activations)
            read = ReadBatch(batch, tokens.masked_scatter(tokens, keep), _rows(activations, keep))
        yield read


def _rows(activations: Tensor, keep: Bool[Tensor, " token"]) -> Tensor:
    """The rows to keep, without waiting for a GPU to count them; without a copy where all are kept."""
    return activations if keep.all() else activations.index_select(0, sent(keep.nonzero()[:, 0], activations.device))


class ActivationStream:
    """Yields chunks [token, stream, d_model] of the models' residual streams, in raw units.

    `state_dict` names the batch of ids after the last chunk that was yielded, whatever was read ahead; a stream that
    loads it starts with that very batch. A failed job on NDIF raises in the place of its chunk, and names the batch.
    """

    def __init__(self, models: ModelSet, tokens: TokenStream, mask: TokenMask) -> None:
        self._models, self._tokens, self.mask = models, tokens, mask
        self.stopwatch = Stopwatch()
        self._stop = threading.Event()
        self._place = tokens.state_dict()

    def __iter__(self) -> Generator[Float[Tensor, "token stream d_model"], None, None]:
        self._tokens.load_state_dict(self._place)
        self._stop.clear()
        try:
            for read in read_batches(self._models, self._tokens, self.mask, stop=self._stop, stopwatch=self.stopwatch):
                self._place = read.batch.next_place
                yield read.activations
        except RemoteJobError as error:
            place = self._place
            read_so_far = f"the text is read up to batch {place['batch']} of window {place['window']}"
            raise RemoteJobError(f"{read_so_far}: {error}") from error
        self.mask.counts.update(self._tokens.uncounted)
        self._tokens.uncounted.clear()
        self._place = self._tokens.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, as JSON."""
        return {"tokens": self._place, "mask": self.mask.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._place = state["tokens"]
        self.mask.load_state_dict(state["mask"])

    def close(self) -> None:
        """End an iteration in another thread with `CancelledError`, rather than wait for jobs on NDIF."""
        self._stop.set()


class _Item(NamedTuple):
    chunk: Tensor | None
    state: dict[str, Any]
    error: BaseException | None = None


class Prefetch:
    """Runs an activation stream ahead in a thread, so that the next chunks are read while the trainer works.

    The order of chunks, and `state_dict`, are those of the stream itself: chunks that were read ahead but not yielded
    do not count as read. Use it as a context manager, or call `close`: until then the thread uses the models.
    """

    def __init__(self, stream: ActivationSource) -> None:
        self._stream = stream
        self._state = stream.state_dict()
        self._queue: queue.Queue[_Item] = queue.Queue(maxsize=AHEAD)
        self._closed = threading.Event()
        self._not_stored: DiskFullError | None = None
        self._thread = threading.Thread(target=self._run, name="harvest", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with torch.no_grad(), closing(iter(self._stream)) as chunks:
                for chunk in chunks:
                    self._put(_Item(chunk, self._stream.state_dict()))
                    if self._closed.is_set():
                        return
            self._put(_Item(None, self._stream.state_dict()))
        except BaseException as error:  # handed to the consumer, which raises it
            if self._closed.is_set() and isinstance(error, DiskFullError):
                self._not_stored = error
            self._put(_Item(None, {}, error))

    def _put(self, item: _Item) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def __iter__(self) -> Iterator[Float[Tensor, "token stream d_model"]]:
        while True:
            item = self._queue.get()
            if item.error is not None:
                raise item.error
            self._state = item.state
            if item.chunk is None:
                return
            yield item.chunk

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stands after the last chunk that was yielded, as JSON."""
        return self._state

    def close(self) -> None:
        """Stop reading ahead, and wait until the thread no longer uses the models.

        Raises `DiskFullError` where the last chunks could not be stored.
        """
        self._closed.set()
        self._stream.close()
        self._thread.join()
        if self._not_stored is not None:
            raise self._not_stored

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
