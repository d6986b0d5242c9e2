"""The activation cache: activations are read from its folder, or harvested and stored there where it lacks them."""

import errno
import json
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.artifacts import DiskFullError, explaining_a_full_disk, read_sealed, write_sealed
from toolkit.harvest.activations import ActivationSource
from toolkit.harvest.cache_shards import GrowingShard, Shard, StoredChunk, file_name, read_chunks, squared_norms, store
from toolkit.harvest.choices import CacheType
from toolkit.outputs import LOCK, locked
from toolkit.tracking import track

INDEX = "index.json"
REPAIR = "call recipes/cache_activations.py with the settings that made it and --repair"
Chunks = Generator[Float[Tensor, "token stream d_model"], None, None]


class CacheFolder:
    """The folder of one cache: its shards, and the `identity` of their content: models, site, text, masks and `type`.

    Raises:
        ValueError: the folder holds other files, or a cache of another identity.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.begin: dict[str, Any] | None = None
        self.shards: list[Shard] = []
        self._whole: set[str] = set()
        self.reload()

    @property
    def type(self) -> CacheType:
        """Type in which activations are stored."""
        kind: CacheType = self.identity["type"]
        return kind

    @property
    def chunks(self) -> int:
        """Number of chunks stored."""
        return sum(shard.chunks for shard in self.shards)

    @property
    def tokens(self) -> int:
        """Number of tokens stored."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def nbytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.nbytes for shard in self.shards)

    def start_of(self, number: int) -> dict[str, Any] | None:
        """Return the live stream's state at the start of shard `number`, stored or next; None for a new cache."""
        return self.shards[number - 1].end if number else self.begin

    def reload(self) -> None:
        """Read the index again: another process may have added shards."""
        if not (self.path / INDEX).exists():
            self._check_empty()
            return
        try:
            index = read_sealed(self.path / INDEX)
            identity, self.begin = index["identity"], index["begin"]
            self.shards = [Shard(**each) for each in index["shards"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.path / INDEX} is damaged, of an earlier version, or not a cache's index ({error}): copy it"
                " again, or give --cache another folder"
            ) from error
        self._check_identity(identity)
        self._check_names()

    def _check_empty(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"--cache {self.path} is a file: give a folder")
        names = sorted(each.name for each in self.path.iterdir()) if self.path.exists() else []
        others = [name for name in names if name not in {LOCK, *(each.name for each in self._left_behind())}]
        if others:
            raise ValueError(
                f"--cache {self.path} holds other files ({', '.join(others[:3])}) and no {INDEX}: give a folder"
                " that is empty or does not exist yet"
            )

    def _check_identity(self, stored: dict[str, Any]) -> None:
        now = self.identity
        differing = [name for name in stored | now if stored.get(name) != now.get(name)]
        if differing == ["models"]:  # the same weights at another path
            return
        if differing:
            changes = ", ".join(f"{name}: {stored.get(name)!r} then, {now.get(name)!r} now" for name in differing)
            raise ValueError(
                f"the cache {self.path} was made with other settings ({changes}): give the same ones, or --cache"
                " another folder"
            )

    def _check_names(self) -> None:
        """Raise `ValueError` for an index that names files other than the folder's own shards."""
        for number, shard in enumerate(self.shards):
            path = self.path / shard.file
            if shard.file != file_name(number) or path.is_symlink():
                raise ValueError(
                    f"{self.path / INDEX} names {shard.file} as shard {number}, expected {file_name(number)} in the"
                    " folder itself, not a link: give --cache another folder"
                )

    def require_whole(self) -> None:
        """Raise `ValueError` for shards that are missing or cut short; their content is checked when it is read."""
        if missing := [shard.file for shard in self.shards if not shard.has_its_size(self.path)]:
            raise ValueError(f"the cache {self.path} lacks {', '.join(missing)}, or has only a part of it: {REPAIR}")

    def read(self, number: int, first: int = 0) -> Iterator[tuple[StoredChunk, dict[str, int]]]:
        """Yield the chunks of shard `number` from its chunk `first` on, as `read_chunks` does.

        Raises `ValueError` for a file that has changed since it was written; each file is checked once.
        """
        shard = self.shards[number]
        if shard.file not in self._whole and not shard.is_whole(self.path):
            raise ValueError(f"{self.path / shard.file} is not as it was written, its sha256 differs: {REPAIR}")
        self._whole.add(shard.file)
        yield from read_chunks(self.path / shard.file, range(first, shard.chunks))

    @contextmanager
    def writing(self, begin: Mapping[str, Any]) -> Iterator[None]:
        """Be the only writer in the block, after reading what others wrote; a new cache starts at state `begin`.

        Raises `ValueError` where another process writes, or where the folder is read-only.
        """
        busy = (
            f"another process writes to the cache {self.path} (it holds {self.path / LOCK}): wait for it, or give"
            " --cache another folder"
        )
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.path, lambda: busy))
            except OSError as error:
                raise ValueError(
                    f"--cache {self.path} cannot be written to ({error.strerror}): {self.tokens:,} tokens are stored;"
                    " ask for at most that many, or give a folder that you may write to"
                ) from error
            self.reload()
            for left_behind in self._left_behind():
                left_behind.unlink()
            if self.begin is None:
                self.begin = dict(begin)
                self._write_index()
            yield

    def _left_behind(self) -> list[Path]:
        """Return temporary files that a killed writer may have left."""
        return [*self.path.glob("shard-*.tmp"), *self.path.glob("again.tmp"), *self.path.glob(f".{INDEX}.tmp")]

    def append(self, shard: GrowingShard) -> None:
        """Write one more shard, then the index; call this only within `writing`."""
        with explaining_a_full_disk(self.path, self._how_to_go_on):
            self.shards.append(shard.write(self.path / file_name(len(self.shards))))
            self._write_index()

    def replace(self, number: int, shard: GrowingShard) -> None:
        """Write a shard again, only within `writing`; where its bits differ, raise `ValueError` and write nothing."""
        before, again = self.shards[number], self.path / "again.safetensors"
        with explaining_a_full_disk(self.path, self._how_to_go_on):
            written = shard.write(again)
        if written.sha256 != before.sha256:
            again.unlink()
            raise ValueError(
                f"{before.file} harvested again has other bits (sha256 {before.sha256[:12]} then, {written.sha256[:12]}"
                " now): other hardware, number of threads or versions. Repair it where it was made, or make the cache"
                " anew"
            )
        again.replace(self.path / before.file)

    def require_space(self, wanted_tokens: int, bytes_a_token: int) -> None:
        """Raise `DiskFullError` where the disk cannot hold `wanted_tokens` in all."""
        there = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.is_dir())
        needed, free = (wanted_tokens - self.tokens) * bytes_a_token, shutil.disk_usage(there).free
        if free < needed:
            raise DiskFullError(
                errno.ENOSPC,
                f"{there} has {free / 1e9:.2f} GB free, but {wanted_tokens:,} tokens at {bytes_a_token:,} bytes take"
                f" {needed / 1e9:.2f} GB more: free some space, give --cache on another disk, or a smaller"
                " --cache-dtype",
            )

    def _how_to_go_on(self) -> str:
        return f"; {self.tokens:,} tokens are in the cache: free some space, and give the same command again"

    def _write_index(self) -> None:
        index = {"identity": self.identity, "begin": self.begin, "shards": [asdict(shard) for shard in self.shards]}
        write_sealed(self.path / INDEX, index)


class CachedActivations:
    """Yields the chunks of the `live` stream, in its order, as the folder stores them, in the first run and later.

    Where the stored chunks end, the next ones are read from the live stream and stored, a shard at a time; those that
    fill no shard when the reader stops become a last, shorter one. `state_dict` is the number of the next chunk.

    Raises:
        ValueError: a shard is corrupt, another process writes at the same time, or the models return NaN or infinity,
        which are never stored.
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
        """Continue from the chunk in `state`."""
        self._next, self._counts = state["chunk"], dict(state["mask"]["counts"])

    def skip_stored(self) -> None:
        """Continue where the stored chunks end."""
        if self.folder.shards:
            self.load_state_dict({"chunk": self.folder.chunks, "mask": self.folder.shards[-1].end["mask"]})

    def close(self) -> None:
        """Make an iteration in another thread end soon."""
        self._live.close()

    def __iter__(self) -> Chunks:
        yield from self._stored()
        with self.folder.writing(self._begin):
            yield from self._stored()  # chunks that another run stored meanwhile
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
                if number > self._next:  # a killed run had read more chunks than it stored
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
                f"the models return NaN or infinity after {self.folder.tokens:,} stored tokens, which stay in the"
                " cache: check the models' weights and their --dtype"
            )
        growing.add(stored, norms, self._live.state_dict())
        return stored

    def repair(self, number: int) -> None:
        """Harvest shard `number` again, from where it began; raises `ValueError` where the result has other bits."""
        again = GrowingShard()
        with self.folder.writing(self._begin):
            self._live.load_state_dict(self.folder.start_of(number) or self._begin)
            chunks = self.folder.shards[number].chunks
            for chunk in track(islice(self._live, chunks), "harvesting", "chunks", total=chunks):
                self._add(chunk, again)
            self.folder.replace(number, again)
