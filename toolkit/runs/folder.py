"""A run folder: settings, checkpoints and results on disk, written so that a kill at any moment leaves them whole."""

import errno
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from toolkit.artifacts import (
    DiskFullError,
    as_json,
    explaining_a_full_disk,
    flush,
    read_json_object,
    read_tensors,
    replace_text,
)
from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.harvest.feed import ShardState
from toolkit.runs.shared_tensors import write_shared

RUN_FILES = (
    "config.json",
    "provenance.json",
    "metrics.json",
    "metrics.jsonl",
    "crosscoder.safetensors",
    "report.html",
)
RUN_FOLDERS = ("checkpoints", "figures", "dictionary_learning")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything a run needs to go on: tensors by name, a JSON state, and where each shard of the text stands.

    Of several processes each has the shards that it reads, and perhaps only a part of the tensors' rows.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    shards: dict[int, ShardState] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """The files of one run, and its last `keep` checkpoints."""

    path: Path
    keep: int = 2

    @classmethod
    def open(
        cls, path: Path, settings: Mapping[str, Any], *, resume: bool, overwrite: bool, keep: int = 2
    ) -> "RunFolder":
        """Make the folder ready for a run with these settings, or for going on with one.

        An old run is replaced only once `begin` is called, when all else is known to be well.

        Raises:
            ValueError: the folder holds a run and neither `resume` nor `overwrite` is set; or `resume` finds other
            settings.
        """
        if resume and overwrite:
            raise ValueError("--resume and --overwrite exclude each other: give one")
        folder = cls(path=path, keep=keep)
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is a file, not a folder: give --out another path")
        if folder._holds_run() and not overwrite:
            if not resume:
                raise ValueError(
                    f"{path} already holds a run: add --resume to go on with it, --overwrite to replace it,"
                    " or another --out"
                )
            folder._check_settings(settings)
        path.mkdir(parents=True, exist_ok=True)
        return folder

    def begin(self, settings: Mapping[str, Any], origin: Mapping[str, Any], *, resume: bool) -> None:
        """Write down the run's settings and where it comes from; what another run left goes, unless it is resumed.

        Raises:
            ValueError: the run to resume had other models or data.
        """
        if resume and (self.path / "provenance.json").exists():
            before = self.read_json("provenance.json")
            for name in ("sha256", "data"):
                if before[name] != json.loads(json.dumps(origin[name])):
                    raise ValueError(
                        f"{self.path} was started with other inputs ({name}: {before[name]} then, {origin[name]} now):"
                        " give the same ones, or another --out"
                    )
        elif not resume:
            self._clear()
        self.write_json("config.json", self._other_settings() | {"run": settings})
        self.write_json("provenance.json", origin)

    def _other_settings(self) -> dict[str, Any]:
        return self.read_json("config.json") if (self.path / "config.json").exists() else {}

    def _holds_run(self) -> bool:
        """Whether a step was taken or a result written: settings alone are no loss."""
        return any((self.path / name).exists() for name in ("metrics.jsonl", "crosscoder.safetensors", "checkpoints"))

    def _clear(self) -> None:
        for name in RUN_FILES:
            (self.path / name).unlink(missing_ok=True)
        for name in RUN_FOLDERS:
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / name)

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        saved = self.read_json("config.json").get("run", {})
        wanted = json.loads(json.dumps(settings))
        differing = sorted(k for k in saved.keys() | wanted.keys() if saved.get(k) != wanted.get(k))
        if differing:
            changes = ", ".join(f"{k}: {saved.get(k)!r} then, {wanted.get(k)!r} now" for k in differing)
            raise ValueError(
                f"{self.path} was started with other settings ({changes}): give the same ones, or another --out"
            )

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file in one move."""
        with self._explaining_a_full_disk():
            replace_text(self.path / name, as_json(content))

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the run."""
        return read_json_object(self.path / name)

    def append_record(self, record: Mapping[str, Any]) -> None:
        """Add one line to `metrics.jsonl`."""
        with self._explaining_a_full_disk(), (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def drop_records_after(self, step: int) -> None:
        """Forget the lines of steps that a resumed run will take again."""
        path = self.path / "metrics.jsonl"
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            complete = [line for line in lines if line.endswith("}\n")]
            with self._explaining_a_full_disk():
                replace_text(path, "".join(line for line in complete if json.loads(line)["step"] <= step))

    def save_checkpoint(
        self, checkpoint: Checkpoint, ranks: Ranks = ALONE, has_rows: Callable[[str], bool] | None = None
    ) -> Path:
        """Write a checkpoint in one move, all ranks together, then drop all but the last `keep`.

        `has_rows`: of which tensors each rank holds its rows alone; by default all ranks' are the same.
        """
        final = self.path / "checkpoints" / f"step-{checkpoint.step:09d}"
        temporary = final.with_suffix(".tmp")
        try:
            with self._explaining_a_full_disk():
                if ranks.is_first:
                    shutil.rmtree(temporary, ignore_errors=True)
                    temporary.mkdir(parents=True)
                ranks.wait()
                _write_part(temporary, checkpoint, ranks, has_rows)
                ranks.wait()
                if ranks.is_first:
                    for file in temporary.iterdir():
                        flush(file)
                    shutil.rmtree(final, ignore_errors=True)
                    temporary.rename(final)
                    flush(final.parent)
        finally:
            if ranks.is_first:
                shutil.rmtree(temporary, ignore_errors=True)
        if ranks.is_first:
            for old in self.checkpoints()[: -self.keep]:
                shutil.rmtree(old)
        return final

    def checkpoints(self) -> list[Path]:
        """The folders of whole checkpoints, oldest first."""
        return sorted(path for path in (self.path / "checkpoints").glob("step-*") if path.suffix != ".tmp")

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint."""
        return next(reversed(self.checkpoints()), None)

    def load_checkpoint(
        self, shards: Iterable[int] = (), rows: Callable[[str, int], slice] | None = None
    ) -> Checkpoint | None:
        """Read the newest whole checkpoint, of the shards of the text only these; None where there is none yet.

        `rows` says, by name and number of rows, which rows of a tensor are read; by default all.
        """
        path = self.last_checkpoint()
        if path is None:
            return None
        try:
            tensors = read_tensors(path / "tensors.safetensors", "a checkpoint's tensors", rows)
            state = read_json_object(path / "state.json")
            held = {shard: _read_shard(path / _shard_name(shard)) for shard in shards}
        except (OSError, ValueError) as error:
            raise ValueError(
                f"checkpoint {path} cannot be read ({error}): remove it to go on from the one before"
            ) from error
        return Checkpoint(step=int(path.name.removeprefix("step-")), tensors=tensors, state=state, shards=held)

    def require_space(self, checkpoint_bytes: int) -> None:
        """Refuse at once a run whose checkpoints will not fit.

        Raises:
            DiskFullError: fewer bytes are free than `keep` + 1 checkpoints take.
        """
        needed = (self.keep + 1) * checkpoint_bytes
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise DiskFullError(
                errno.ENOSPC,
                f"{self.path} has {free / 1e9:.2f} GB free, but {self.keep} checkpoints and one being written take"
                f" {needed / 1e9:.2f} GB: free some space, give --out on another disk, or lower --keep-checkpoints",
            )

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Say with whatever ends the block that the crosscoder is saved, and how it is evaluated again."""
        try:
            yield
        except BaseException as error:
            error.add_note(
                f"the crosscoder is saved whole in {self.path}: with --resume it is evaluated without training"
            )
            raise

    def _explaining_a_full_disk(self) -> AbstractContextManager[None]:
        return explaining_a_full_disk(self.path, self._how_to_go_on)

    def _how_to_go_on(self) -> str:
        last = self.last_checkpoint()
        kept = f"; the last checkpoint is whole: {last}" if last else ""
        return f"{kept}: free some space, then --resume"


def _write_part(folder: Path, checkpoint: Checkpoint, ranks: Ranks, has_rows: Callable[[str], bool] | None) -> None:
    """Write what this rank has of a checkpoint."""
    for shard, held in checkpoint.shards.items():
        save_file(held.tensors, folder / f"{_shard_name(shard)}.safetensors")
        (folder / f"{_shard_name(shard)}.json").write_text(json.dumps(held.state), encoding="utf-8")
    if has_rows is not None:
        write_shared(folder / "tensors.safetensors", checkpoint.tensors, has_rows, ranks)
    elif ranks.is_first:
        save_file(checkpoint.tensors, folder / "tensors.safetensors")
    if ranks.is_first:
        (folder / "state.json").write_text(json.dumps(checkpoint.state), encoding="utf-8")


def _shard_name(shard: int) -> str:
    return f"shard-{shard:05d}"


def _read_shard(path: Path) -> ShardState:
    tensors = read_tensors(path.with_suffix(".safetensors"), "the shuffle buffer of a shard of the text")
    return ShardState(tensors, read_json_object(path.with_suffix(".json")))
