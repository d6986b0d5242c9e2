"""A run folder: settings, checkpoints and results on disk, written so that a kill at any moment leaves them whole."""

import errno
import json
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from toolkit.artifacts import (
    HASHES_KEY,
    DiskFullError,
    as_json,
    digest,
    read_json_object,
    read_section,
    replace_text,
)
from toolkit.library_warnings import ToolkitWarning
from toolkit.outputs import Claim, OutputFolder
from toolkit.settings.training_output import TrainingOutput
from toolkit.training.checkpoints import Checkpoints

Folder = TypeVar("Folder", bound="TrainingFolder")
INPUTS = ("models", "data")
PLACES = ("pair", "base", "distilled")
"""Settings that say where models are stored; fingerprints tell whether the models are the same."""
UNSAID = {"seeds": 1}
"""Settings that `config.json` leaves out where they have this value, as runs of earlier versions do."""


def settings_before(output: TrainingOutput) -> dict[str, Any]:
    """The settings of the run to resume, as its `config.json` holds them; empty where none is resumed."""
    path = output.out / "config.json"
    return read_section(path, "run") if output.resume and path.exists() else {}


@dataclass(frozen=True, kw_only=True)
class TrainingFolder:
    """The files of one run that trains something, and its last `keep` checkpoints."""

    CLAIM: ClassVar[Claim]
    """All files of such a run."""
    MADE: ClassVar[str]
    """What is trained, in a word."""
    WEIGHTS: ClassVar[str]
    """The file of its weights."""
    RECORD: ClassVar[frozenset[str]]
    """What a line of `metrics.jsonl` says of a step."""
    REPORT: ClassVar[tuple[str, ...]]
    """The files of its report."""

    path: Path
    keep: int = 2

    @property
    def outputs(self) -> OutputFolder:
        """The folder, and the files of a run in it."""
        return OutputFolder(self.path, (self.CLAIM,))

    @classmethod
    def open(cls: type[Folder], output: TrainingOutput, settings: Mapping[str, Any]) -> Folder:
        """Make the folder ready for a run with these settings, or for going on with one.

        An old run is replaced only once `begin` is called, when all else is known to be well.

        Raises:
            ValueError: the folder holds a run and neither --resume nor --overwrite is given; or --resume finds other
            settings.
        """
        path = output.out
        if output.resume and output.overwrite:
            raise ValueError("--resume and --overwrite exclude each other: give one")
        folder = cls(path=path, keep=output.keep_checkpoints)
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is a file, not a folder: give --out another path")
        if folder._holds_run() and not output.overwrite:
            if not output.resume:
                raise ValueError(
                    f"{path} already holds a run: add --resume to go on with it, --overwrite to replace it,"
                    " or another --out"
                )
            folder._check_settings(settings)
        path.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def is_evaluated(self) -> bool:
        """Whether weights and metrics are there as they were written."""
        return self.outputs.is_as_written(self.WEIGHTS, "metrics.json")

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints; whose run they are of is checked where `run` is given."""
        return Checkpoints(folder=self.path / "checkpoints", keep=self.keep)

    def identity(self) -> str:
        """A string that identifies the run which the folder's files describe: its settings, models and data."""
        settings, origin = ("config.json", "provenance.json")
        asked = {name: value for name, value in self._section(settings, "run").items() if name not in PLACES}
        return digest([asked, *(self._section(origin, name) for name in INPUTS)])

    def begin(self, settings: Mapping[str, Any], origin: Mapping[str, Any], *, resume: bool) -> None:
        """Write down the run's settings and where it comes from; what another run left goes, unless it is resumed.

        A run whose files of text were mended goes on with the next record by number, and a warning says so.

        Raises:
            ValueError: the run to resume had other models or data, or does not say which.
        """
        if resume and (self.path / "provenance.json").exists():
            origin = self._with_mended_text(origin)
            for name in INPUTS:
                before = self._section("provenance.json", name)
                if not before:
                    raise ValueError(
                        f"{self.path / 'provenance.json'} does not say which {name} the run has: it is damaged, or of"
                        " an earlier version of this toolkit: begin again with --overwrite, or give another --out"
                    )
                if before != json.loads(json.dumps(origin[name])):
                    raise ValueError(
                        f"{self.path} was started with other inputs ({name}: {before} then, {origin[name]} now):"
                        " give the same ones, or another --out"
                    )
        elif not resume:
            self.outputs.clear()
        hashes = self._section("config.json", HASHES_KEY) | {"run": digest(settings)}
        self.write_json("config.json", self._other_settings() | {"run": settings, HASHES_KEY: hashes})
        self.write_json("provenance.json", origin)

    def _with_mended_text(self, origin: Mapping[str, Any]) -> Mapping[str, Any]:
        """The origin with the text's files as they were when the run began, where only their content has changed."""
        before, now = self._section("provenance.json", "data"), origin["data"]
        old, new = before.get("files", {}), now.get("files", {})
        if old == new or old.keys() != new.keys() or before | {"files": new} != now:
            return origin
        changed = [path for path in new if new[path] != old[path]]
        warnings.warn(
            f"the text has changed since the run began ({', '.join(changed)}): it goes on with the record after the"
            " last one read, by number; if records before that were added or removed, begin again with --overwrite",
            category=ToolkitWarning,
            stacklevel=2,
        )
        mended = {path: new[path] for path in changed}
        return {**origin, "data": before, "mended": mended}

    def _other_settings(self) -> dict[str, Any]:
        return self.read_json("config.json") if (self.path / "config.json").exists() else {}

    def _holds_run(self) -> bool:
        """Whether a step was taken or a result written: settings alone are no loss."""
        return any((self.path / name).exists() for name in ("metrics.jsonl", self.WEIGHTS, "checkpoints"))

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        saved, wanted = (
            UNSAID | each | each.get("training", {})
            for each in (self._section("config.json", "run"), json.loads(json.dumps(settings)))
        )
        compared = (saved.keys() | wanted.keys()) - {*PLACES, "training"}
        differing = sorted(k for k in compared if saved.get(k) != wanted.get(k))
        if differing:
            changes = ", ".join(f"{k}: {saved.get(k)!r} then, {wanted.get(k)!r} now" for k in differing)
            raise ValueError(
                f"{self.path} was started with other settings ({changes}): give the same ones, or another --out"
            )

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file in one move."""
        with self.checkpoints.explaining_a_full_disk(), self.outputs.writing(name):
            replace_text(self.path / name, as_json(content))

    def _section(self, name: str, key: str) -> dict[str, Any]:
        """The object under `key` in a JSON file of the run; empty where there is no such file."""
        path = self.path / name
        return read_section(path, key) if path.exists() else {}

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the run."""
        return read_json_object(self.path / name)

    def append_record(self, record: Mapping[str, Any]) -> None:
        """Add one line to `metrics.jsonl`."""
        with (
            self.checkpoints.explaining_a_full_disk(),
            (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(record) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """The steps in `metrics.jsonl`; warns of lines that are no record of a step, and leaves them out."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n")
        records = {number: record for number, line in enumerate(lines, 1) if (record := self._record(line))}
        # The last line alone may be half written, by a process that was killed.
        if damaged := [str(number) for number in range(1, len(lines)) if number not in records]:
            warnings.warn(f"{path} is damaged: left out line {', '.join(damaged)}", ToolkitWarning, stacklevel=2)
        return list(records.values())

    def drop_records_after(self, step: int) -> None:
        """Forget the lines of steps that a resumed run will take again, and those that are damaged."""
        path = self.path / "metrics.jsonl"
        if path.exists():
            self.write_records(record for record in self.records() if record["step"] <= step)

    def write_records(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write `metrics.jsonl` in one move."""
        with self.checkpoints.explaining_a_full_disk():
            replace_text(self.path / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in records))

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
        """Say with whatever ends the block that the weights are saved, and how they are evaluated again."""
        try:
            yield
        except BaseException as error:
            error.add_note(
                f"the {self.MADE} is saved whole in {self.path}: with --resume it is evaluated without training"
            )
            raise

    def _record(self, line: str) -> dict[str, Any] | None:
        """The record of a step that a line holds, or None where it is damaged."""
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return None
        return record if isinstance(record, dict) and record.keys() >= self.RECORD else None
