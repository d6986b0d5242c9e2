"""Checkpoints of a run: written in one move, verified before they are used, the newest whole one taken."""

import json
import re
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from toolkit.artifacts import (
    SEAL,
    explaining_a_full_disk,
    flush,
    read_json_object,
    read_sealed,
    sha256,
    write_sealed,
)
from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.harvest.feed import ShardState
from toolkit.library_warnings import ToolkitWarning
from toolkit.settings.run_files import CHECKPOINT, STATE, TENSORS
from toolkit.tensor_files import check_finite, read_tensors, write_tensors
from toolkit.training.shared_tensors import write_shared

Failure = TypeVar("Failure", bound=Exception)
NONE_YET, NONE_WHOLE = -1, -2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything a run needs to continue: tensors by name, a JSON state, and how far each shard of the text was read.

    Of several processes each has the shards that it reads, and perhaps only a part of the tensors' rows.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    shards: dict[int, ShardState] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The last `keep` checkpoints of a run, each a folder in `folder`.

    A checkpoint's `state.json` holds the sha256 of itself and of every other file, and which run it is of. What others
    put into these folders is left there.
    """

    folder: Path
    keep: int = 2
    run: str | None = None
    """The `identity` of their run; None takes checkpoints of any run."""

    def save(self, checkpoint: Checkpoint, ranks: Ranks = ALONE, has_rows: Callable[[str], bool] | None = None) -> Path:
        """Write a checkpoint in one move, all ranks together, then drop all but the last `keep`, and later steps.

        `has_rows`: of which tensors each rank holds its rows alone; by default all ranks' are the same.
        """
        final = self._path(checkpoint.step)
        temporary = final.with_suffix(".tmp")
        try:
            with self.explaining_a_full_disk():
                if ranks.is_first:
                    for unfinished in self.folder.glob("step-*.tmp"):  # of a process that was killed as it wrote
                        _delete(unfinished)
                    temporary.mkdir(parents=True, exist_ok=True)
                ranks.wait()
                hashes = _write_part(temporary, checkpoint, ranks, has_rows)
                ranks.wait()
                if ranks.is_first:
                    self._seal(temporary, checkpoint, hashes)
                    _delete(final)
                    for other in final.iterdir() if final.exists() else ():
                        other.rename(temporary / other.name)
                    temporary.replace(final)
                    flush(final.parent)
        finally:
            if ranks.is_first:
                _delete(temporary)
        if ranks.is_first:
            paths = self.paths()
            done = paths.index(final) + 1
            for old in (*paths[: max(0, done - self.keep)], *paths[done:]):
                _delete(old)
        return final

    def _seal(self, folder: Path, checkpoint: Checkpoint, hashes: dict[str, str]) -> None:
        """Write down the sha256 of each file, those in `hashes` without reading it again, and wait for the disk."""
        files = {file.name: hashes.get(file.name) or sha256(file) for file in _written(folder)}
        content = {"run": self.run, "step": checkpoint.step, "files": files, "state": checkpoint.state}
        write_sealed(folder / STATE, content)
        for name in (*files, STATE):
            flush(folder / name)

    def paths(self) -> list[Path]:
        """The folders of checkpoints that were written to their end, oldest first."""
        named = (path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d{9,}", path.name))
        return sorted(path for path in named if _written(path))

    def newest_whole(self) -> Path | None:
        """The newest checkpoint that is as it was written."""
        return self._survey()[0]

    def load(
        self, shards: Iterable[int] = (), rows: Callable[[str, int], slice] | None = None, ranks: Ranks = ALONE
    ) -> Checkpoint | None:
        """Read the newest whole checkpoint, of the shards of the text only these; None where there is none yet.

        `rows` says, by name and number of rows, which rows of a tensor are read; by default all. All `ranks` take the
        same one, which the first chooses. Warns of newer ones that are damaged.

        Raises:
            ValueError: there are checkpoints, and none of them is whole.
        """
        path, damaged = self._survey() if ranks.is_first else (None, {})
        step = ranks.highest(_step(path) if path else NONE_WHOLE if damaged or not ranks.is_first else NONE_YET)
        if step == NONE_YET:
            return None
        said = "; ".join(f"{path.name}: {why}" for path, why in damaged.items())
        if step == NONE_WHOLE:
            raise ValueError(f"no checkpoint in {self.folder} can be used ({said}): begin again with --overwrite")
        path = self._path(step)
        if said:
            warnings.warn(f"a newer checkpoint is damaged ({said}): going on from {path}", ToolkitWarning, stacklevel=2)
        return self._read(path, shards, rows)

    def _survey(self) -> tuple[Path | None, dict[Path, str]]:
        """The newest whole checkpoint, and what is wrong with each newer one."""
        damaged: dict[Path, str] = {}
        for path in reversed(self.paths()):
            try:
                self._check(path)
            except (OSError, ValueError) as error:
                damaged[path] = str(error)
            else:
                return path, damaged
        return None, damaged

    def _check(self, path: Path) -> None:
        """Raise ValueError or OSError for a checkpoint that is not as it was written, or of another run."""
        if SEAL not in read_json_object(path / STATE):
            raise ValueError(f"{path / STATE} has no seal: it is damaged, or of an earlier version of this toolkit")
        content = read_sealed(path / STATE)
        if content.keys() != {"run", "step", "files", "state"}:
            raise ValueError(f"{path / STATE} is of another version of this toolkit")
        if self.run not in (None, content["run"]) or content["step"] != _step(path):
            raise ValueError(f"{path / STATE} is of another run or step")
        for name, expected in content["files"].items():
            if sha256(path / name) != expected:
                raise ValueError(f"{path / name} is not as it was written: its sha256 differs")

    def _read(self, path: Path, shards: Iterable[int], rows: Callable[[str, int], slice] | None) -> Checkpoint:
        content = read_sealed(path / STATE)
        tensors = read_tensors(path / TENSORS, "a checkpoint's tensors", rows)
        check_finite(path / TENSORS, tensors)
        held = {shard: _read_shard(path / _shard_name(shard)) for shard in shards}
        return Checkpoint(step=content["step"], tensors=tensors, state=content["state"], shards=held)

    def noted(self, error: Failure) -> Failure:
        """Return the error with a note that names the last good checkpoint."""
        error.add_note(f"last good checkpoint: {self.newest_whole() or 'none yet'}")
        return error

    def explaining_a_full_disk(self) -> AbstractContextManager[None]:
        """Raise `DiskFullError` where the block fails because the disk is full; the message says what is safe."""
        return explaining_a_full_disk(self.folder, self._how_to_go_on)

    def _how_to_go_on(self) -> str:
        last = self.newest_whole()
        kept = f"; the last checkpoint is whole: {last}" if last else ""
        return f"{kept}: free some space, then --resume"

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"


def _written(folder: Path) -> list[Path]:
    """The files in a checkpoint's folder that were written by a run."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if any(fnmatchcase(path.name, pattern) for pattern in CHECKPOINT))


def _delete(folder: Path) -> None:
    """Delete a checkpoint, whole or not, and its folder where nothing else is in it."""
    for file in _written(folder):
        file.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _write_part(
    folder: Path, checkpoint: Checkpoint, ranks: Ranks, has_rows: Callable[[str], bool] | None
) -> dict[str, str]:
    """Write what this rank has of a checkpoint, but for its state; return the sha256 of files that it wrote alone."""
    hashes = {}
    for shard, held in checkpoint.shards.items():
        name = f"{_shard_name(shard)}.safetensors"
        hashes[name] = write_tensors(folder / name, held.tensors)
        (folder / f"{_shard_name(shard)}.json").write_text(json.dumps(held.state), encoding="utf-8")
    if has_rows is not None:
        write_shared(folder / TENSORS, checkpoint.tensors, has_rows, ranks)
    elif ranks.is_first:
        hashes[TENSORS] = write_tensors(folder / TENSORS, checkpoint.tensors)
    return hashes


def _shard_name(shard: int) -> str:
    return f"shard-{shard:05d}"


def _read_shard(path: Path) -> ShardState:
    tensors = read_tensors(path.with_suffix(".safetensors"), "the shuffle buffer of a shard of the text")
    return ShardState(tensors, read_json_object(path.with_suffix(".json")))
