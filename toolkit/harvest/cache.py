"""The activation cache: what is stored is read, what is not is harvested and stored."""

from collections.abc import Generator
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.harvest.activations import ActivationSource
from toolkit.harvest.cache_folder import CacheFolder
from toolkit.harvest.cache_shards import GrowingShard
from toolkit.harvest.cache_types import StoredChunk, squared_norms, store
from toolkit.tracking import track

Chunks = Generator[Float[Tensor, "token stream d_model"], None, None]


class CachedActivations:
    """Chunks of the `live` stream, in its order, as the folder stores them: the first run and later ones see the same.

    Where the stored chunks end, it goes on with the live stream and stores what that gives, a shard at a time; what is
    left when the reader stops becomes a last, shorter shard. `state_dict` is the number of the next chunk.

    Raises:
        ValueError: a shard is corrupt, another process writes at the same time, or the models gave NaN or infinity,
        which is never stored.
        DiskFullError: the disk has no room for a shard; those before it are whole.
    """

    def __init__(self, live: ActivationSource, folder: CacheFolder, device: torch.device) -> None:
        self._live, self.folder, self._device = live, folder, device
        self._begin = live.state_dict()  # a new cache starts here
        self._next = 0
        self._counts: dict[str, int] = dict(self._begin["mask"]["counts"])
        self.stopwatch = live.stopwatch

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, as JSON."""
        return {"chunk": self._next, "mask": {"counts": self._counts}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._next, self._counts = state["chunk"], dict(state["mask"]["counts"])

    def skip_stored(self) -> None:
        """Go on where the stored chunks end."""
        if self.folder.shards:
            self.load_state_dict({"chunk": self.folder.chunks, "mask": self.folder.shards[-1].end["mask"]})

    def close(self) -> None:
        """End an iteration in another thread soon."""
        self._live.close()

    def __iter__(self) -> Chunks:
        yield from self._stored()
        with self.folder.writing(self._begin):
            yield from self._stored()  # by a run that has finished since
            yield from self._harvested()

    def _stored(self) -> Chunks:
        before = 0
        for number, shard in enumerate(self.folder.shards):
            if self._next < before + shard.chunks:
                chunks = self.stopwatch.waiting("reading the cache", self.folder.read(number, self._next - before))
                for stored, counts in chunks:
                    yield self._hand_out(stored.to(self._device), counts)
            before += shard.chunks

    def _harvested(self) -> Chunks:
        number = self.folder.chunks
        growing = GrowingShard()
        self._live.load_state_dict(self.folder.start_of(len(self.folder.shards)) or self._begin)
        try:
            for chunk in self._live:
                with self.stopwatch.stage("writing the cache"):
                    stored = self._add(chunk, growing)
                    if growing.full:
                        full, growing = growing, GrowingShard()
                        self.folder.append(full)
                number += 1
                if number > self._next:  # a run that was killed had read on beyond what was stored
                    yield self._hand_out(stored, self._live.state_dict()["mask"]["counts"])
        finally:
            if growing.chunks:
                self.folder.append(growing)

    def _hand_out(self, stored: StoredChunk, counts: dict[str, int]) -> Tensor:
        self._next, self._counts = self._next + 1, dict(counts)
        return stored.restore()

    def _add(self, chunk: Tensor, growing: GrowingShard) -> StoredChunk:
        stored = store(chunk, self.folder.type)
        norms = squared_norms(chunk, stored)
        if not all(torch.tensor(norms).isfinite()):
            raise ValueError(
                f"the models gave NaN or infinity after {self.folder.tokens:,} stored tokens; the cache keeps what came"
                " before: check the models' weights and their --dtype"
            )
        growing.add(stored, norms, self._live.state_dict())
        return stored

    def repair(self, number: int) -> None:
        """Harvest shard `number` again, from where it began; raises ValueError where that gives other bits."""
        again = GrowingShard()
        with self.folder.writing(self._begin):
            self._live.load_state_dict(self.folder.start_of(number) or self._begin)
            chunks = self.folder.shards[number].chunks
            for chunk in track(islice(self._live, chunks), "harvesting", "chunks", total=chunks):
                self._add(chunk, again)
            self.folder.replace(number, again)
