"""The folder of an activation cache: its shards, and the index that says what they hold and where to go on."""

import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolkit.artifacts import DiskFullError, explaining_a_full_disk, read_sealed, sha256, write_sealed
from toolkit.harvest.cache_shards import GrowingShard, Shard, read_chunks
from toolkit.harvest.cache_types import StoredChunk
from toolkit.harvest.choices import CacheType
from toolkit.outputs import LOCK, locked

INDEX = "index.json"
REPAIR = "call recipes/cache_activations.py with the settings that made it and --repair"


class CacheFolder:
    """The shards of one cache, and the `identity` of what they hold: models, site, text, masks and `type`.

    Raises:
        ValueError: the folder holds other things, or a cache of another identity.
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
        """Type of what is stored."""
        kind: CacheType = self.identity["type"]
        return kind

    @property
    def chunks(self) -> int:
        """Chunks stored."""
        return sum(shard.chunks for shard in self.shards)

    @property
    def tokens(self) -> int:
        """Tokens stored."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def nbytes(self) -> int:
        """Bytes of the shards."""
        return sum(shard.nbytes for shard in self.shards)

    def start_of(self, number: int) -> dict[str, Any] | None:
        """The live stream's state where shard `number` begins, or the shard that comes next; None for a new cache."""
        return self.shards[number - 1].end if number else self.begin

    def reload(self) -> None:
        """Read the index anew: another process may have added shards."""
        if not (self.path / INDEX).exists():
            self._check_empty()
            return
        try:
            index = read_sealed(self.path / INDEX)
            identity, self.begin = index["identity"], index["begin"]
            self.shards = [Shard(**each) for each in index["shards"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.path / INDEX} is damaged, of an earlier version, or no index of a cache ({error}): copy it"
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
                f"--cache {self.path} holds other things ({', '.join(others[:3])}) and no {INDEX}: give a folder"
                " that is empty or not there yet"
            )

    def _check_identity(self, stored: dict[str, Any]) -> None:
        now = self.identity
        differing = [name for name in stored | now if stored.get(name) != now.get(name)]
        if differing == ["models"]:  # the same weights at another path
            return
        if differing:
            changes = ", ".join(f"{name}: {stored.get(name)!r} then, {now.get(name)!r} now" for name in differing)
            raise ValueError(
                f"the cache {self.path} is of something else ({changes}): give what it was made from, or --cache"
                " another folder"
            )

    def _check_names(self) -> None:
        """Refuse an index that names files of others: only the folder's own shards are read, and mended."""
        for number, shard in enumerate(self.shards):
            path = self.path / shard.file
            if shard.file != _file_name(number) or path.is_symlink():
                raise ValueError(
                    f"{self.path / INDEX} names {shard.file} as shard {number}, expected {_file_name(number)} in the"
                    " folder itself, and no link: give --cache another folder"
                )

    def require_whole(self) -> None:
        """Raise ValueError for shards that are missing or cut short; their content is checked when they are read."""
        if missing := [shard.file for shard in self.shards if self._size(shard) != shard.nbytes]:
            raise ValueError(
                f"the cache {self.path} lacks {', '.join(missing)}, or has less of it than was written: {REPAIR}"
            )

    def broken(self, number: int) -> bool:
        """Whether a shard is missing, or holds other bits than when it was written; reads all of it."""
        shard = self.shards[number]
        return self._size(shard) != shard.nbytes or sha256(self.path / shard.file) != shard.sha256

    def _size(self, shard: Shard) -> int | None:
        path = self.path / shard.file
        return path.stat().st_size if path.is_file() else None

    def read(self, number: int, first: int = 0) -> Iterator[tuple[StoredChunk, dict[str, int]]]:
        """Chunks of shard `number` from its chunk `first` on, as `read_chunks` gives them.

        Raises ValueError for a file with other bits than when it was written, which is checked once.
        """
        shard = self.shards[number]
        if shard.file not in self._whole and self.broken(number):
            raise ValueError(f"{self.path / shard.file} is not as it was written, its sha256 differs: {REPAIR}")
        self._whole.add(shard.file)
        yield from read_chunks(self.path / shard.file, range(first, shard.chunks))

    @contextmanager
    def writing(self, begin: Mapping[str, Any]) -> Iterator[None]:
        """Be the only writer, who knows what others have written; a new cache starts at the live state `begin`.

        Raises ValueError where another process writes, or where nobody may.
        """
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.path, self._busy))
            except OSError as error:
                raise ValueError(
                    f"--cache {self.path} cannot be written to ({error.strerror}): {self.tokens:,} tokens are stored;"
                    " ask for no more, or give a folder that you may write to"
                ) from error
            self.reload()
            for left_behind in self._left_behind():
                left_behind.unlink()
            if self.begin is None:
                self.begin = dict(begin)
                self._write_index()
            yield

    def _busy(self) -> str:
        return (
            f"another process writes to the cache {self.path} (it holds {self.path / LOCK}): wait for it, or give"
            " --cache another folder"
        )

    def _left_behind(self) -> list[Path]:
        """What a kill may leave in the middle of writing."""
        return [*self.path.glob("shard-*.tmp"), *self.path.glob("again.tmp"), *self.path.glob(f".{INDEX}.tmp")]

    def append(self, shard: GrowingShard) -> None:
        """Write one more shard, then the index; only within `writing`."""
        with explaining_a_full_disk(self.path, self._how_to_go_on):
            self.shards.append(shard.write(self.path / _file_name(len(self.shards))))
            self._write_index()

    def replace(self, number: int, shard: GrowingShard) -> None:
        """Write a shard again; only within `writing`. Raises ValueError, and changes nothing, where the bits differ."""
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
        """Raise DiskFullError where the disk cannot hold as many tokens in all."""
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
        return f"; {self.tokens:,} tokens are in the cache: free some space, then call again"

    def _write_index(self) -> None:
        index = {"identity": self.identity, "begin": self.begin, "shards": [asdict(shard) for shard in self.shards]}
        write_sealed(self.path / INDEX, index)


def _file_name(number: int) -> str:
    return f"shard-{number:06d}.safetensors"
