"""The folder that a recipe writes: one process writes at a time, and replaces only files that a recipe wrote there.

`written.json` in it lists those files, each with its sha256.
"""

import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from toolkit.artifacts import explaining_a_full_disk, read_json_object, sha256, write_json

MANIFEST, LOCK = "written.json", "writing.lock"
SHOWN = 3
WHOLE = "what was written before is whole: free some space, and give the same command again"

Listed = dict[str, str | None]
"""Maps a file name or a pattern to the sha256 of what was written, or to None for files whose content may change."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The files that a kind of run writes, as patterns of names in its folder; `*` matches anything but a slash."""

    files: tuple[str, ...] = ()
    """Files that are written once a run."""
    changing: tuple[str, ...] = ()
    """Files that are written again and again: whatever they hold is taken as the run's."""
    signs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """JSON files and keys in them that mark a folder of an earlier version, which wrote no manifest."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """All patterns."""
        return self.files + self.changing


def findings_claim(name: str) -> Claim:
    """The files of an experiment's findings of that name."""
    return Claim(
        files=(f"{name}.json", f"{name}.html", f"figures/{name}_*.png"),
        signs={f"{name}.json": ("question", "results", "provenance")},
    )


BROWSER = Claim(
    files=("latents.html",),
    changing=("latents/[0-9][0-9][0-9][0-9].js",),
    signs={"top_examples.json": ("question", "results", "provenance")},
)
"""The files of a page to look through latents."""
GRAPHS = Claim(files=("graph.html", "graph.json", "graph_*.json", "graph-metadata.json"))
"""The files of a page of attribution graphs, and the same graphs in circuit-tracer's format."""
RESULTS_FILE = "results.json"
RESULTS = Claim(files=(RESULTS_FILE,))
"""The file of every number of an experiment, at its top level, and of where they came from."""
PLAIN_VECTOR, LM_EVAL_VECTOR = "steering_vector.safetensors", "steered.pt"
STEERING_VECTORS = Claim(files=(PLAIN_VECTOR, LM_EVAL_VECTOR))
"""The files of a steering vector, a plain one and the one that lm-evaluation-harness reads."""


@dataclass(frozen=True)
class OutputFolder:
    """A folder, and what a run writes in it."""

    path: Path
    claims: tuple[Claim, ...]
    inside: bool = False
    """Whether the folder is made for a part of a run, and removed where nothing was written to it."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of all claims, each once."""
        return tuple(dict.fromkeys(pattern for claim in self.claims for pattern in claim.patterns))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the folder's only writer in the block; the folder is made if need be.

        Raises:
            ValueError: another process writes to the folder; it holds files of claimed names that no run wrote, or
            that were changed since; or it cannot be written to.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path} is a file, not a folder: give --out another path")
        if not (self.path / LOCK).exists():
            self.check()  # before the lock is made: a refused folder gets no new file
        with locked(self.path, self._busy):
            self.check()
            self._write(self._listed())
            try:
                yield
            finally:
                self._drop_empty_manifest()

    def check(self, *names: str) -> None:
        """Raise `ValueError` where files of these names, by default all claimed ones, may not be replaced."""
        listed = self._listed()
        found = self._found() if not names else [name for name in names if os.path.lexists(self.path / name)]
        wrong = {name: why for name in found if (why := self._objection(name, listed))}
        if wrong:
            shown = ", ".join(f"{name} ({why})" for name, why in list(wrong.items())[:SHOWN])
            more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
            raise ValueError(
                f"{self.path} holds files that this recipe may not replace: {shown}{more}: move them"
                " away, or give --out another folder"
            )

    def is_as_written(self, *names: str) -> bool:
        """Whether these files exist, and each has the sha256 that the manifest records."""
        listed = self._listed()
        return all(
            listed.get(name) and (self.path / name).is_file() and sha256(self.path / name) == listed[name]
            for name in names
        )

    @contextmanager
    def writing(self, *names: str) -> Iterator[None]:
        """Write or remove these files in the block; the manifest then records them as they are.

        Raises:
            ValueError: as `check` does, before the block.
            DiskFullError: there is too little room; what was written before the block is whole.
        """
        for name in names:
            assert _matches(name, self.patterns), f"{name} is not claimed"
        self.check(*names)
        self._write(self._listed() | dict.fromkeys(names))
        with explaining_a_full_disk(self.path, lambda: f"; {WHOLE}"):
            yield
        listed = self._listed()
        for name in names:
            if not (self.path / name).is_file():
                listed.pop(name)
            elif not _matches(name, self._changing):
                listed[name] = sha256(self.path / name)
        self._write(listed)

    def clear(self) -> None:
        """Delete all claimed files, and folders that are then empty.

        Raises `ValueError` as `check` does, before anything is deleted.
        """
        self.check()
        for name in self._found():
            (self.path / name).unlink()
            for parent in list(PurePosixPath(name).parents)[:-1]:
                if any((self.path / parent).iterdir()):
                    break
                (self.path / parent).rmdir()
        self._write({name: digest for name, digest in self._listed().items() if not _matches(name, self.patterns)})

    def remove(self) -> None:
        """Clear the folder, and delete it where nothing else is in it."""
        self.clear()
        if self._is_empty():
            (self.path / MANIFEST).unlink(missing_ok=True)
            (self.path / LOCK).unlink(missing_ok=True)
            self.path.rmdir()

    def _drop_empty_manifest(self) -> None:
        """Delete the manifest where the folder holds nothing else, and the folder if it is part of a run."""
        if self.path.exists() and self._is_empty():
            if self.inside:
                self.remove()
            else:
                (self.path / MANIFEST).unlink(missing_ok=True)

    def _is_empty(self) -> bool:
        return {each.name for each in self.path.iterdir()} <= {MANIFEST, LOCK}

    @property
    def _changing(self) -> tuple[str, ...]:
        return tuple(pattern for claim in self.claims for pattern in claim.changing)

    def _found(self) -> list[str]:
        """The claimed files that exist, and links and files that stand in their way."""
        found = (name for pattern in self.patterns for name in _expand(self.path, pattern.split("/")))
        return list(dict.fromkeys(found))

    def _objection(self, name: str, listed: Listed) -> str | None:
        """Return why a file may not be replaced, or None where it may."""
        for place in (*PurePosixPath(name).parents, PurePosixPath(name)):
            if place.name and (self.path / place).is_symlink():
                return "is a link"
        if name in listed:
            digest = listed[name]
        elif any(_matches(name, (each,)) for each, digest in listed.items() if digest is None):
            digest = None
        else:
            return "not written by it"
        if not (self.path / name).is_file() or (digest is not None and sha256(self.path / name) != digest):
            return "changed since it was written"
        return None

    def _listed(self) -> Listed:
        listed = self._manifest().get("files", {})
        if not isinstance(listed, dict):
            raise ValueError(f"{self.path / MANIFEST} holds no list of files: give --out another folder")
        for name, digest in listed.items():
            if not {"", ".", ".."}.isdisjoint(name.split("/")) or "\\" in name or not isinstance(digest, str | None):
                raise ValueError(
                    f"{self.path / MANIFEST} lists {name!r}, which is not a file inside its folder: give --out another"
                    " folder"
                )
        for claim in self.claims:
            if not any(name in claim.patterns or _matches(name, claim.patterns) for name in listed):
                listed |= dict.fromkeys(claim.patterns if self._is_of_earlier_version(claim) else ())
        return listed

    def _is_of_earlier_version(self, claim: Claim) -> bool:
        """Whether an earlier version, which wrote no manifest, wrote the claimed files."""
        try:
            contents = {name: read_json_object(self.path / name) for name in claim.signs}
        except (OSError, ValueError):
            return False
        return bool(contents) and all(contents[name].keys() >= set(keys) for name, keys in claim.signs.items())

    def _manifest(self) -> dict[str, Any]:
        path = self.path / MANIFEST
        return read_json_object(path) if path.exists() else {}

    def _write(self, listed: Listed) -> None:
        writer = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        }
        files = dict.fromkeys(self._changing) | listed
        write_json(self.path / MANIFEST, {"writer": writer, "files": dict(sorted(files.items()))})

    def _busy(self) -> str:
        try:
            writer = self._manifest()["writer"]
            who = f"process {writer['process']} on {writer['host']} ({writer['command']})"
        except (OSError, ValueError, KeyError, TypeError):
            who = "another process"
        return f"{who} writes to {self.path}: wait for it, or give --out another folder"


@contextmanager
def locked(folder: Path, busy: Callable[[], str]) -> Iterator[None]:
    """Hold a folder's lock in the block; the lock ends with the process at the latest. Makes the folder if need be.

    Raises:
        ValueError: another process holds the lock; the message is what `busy` returns.
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(busy()) from None
    try:
        if not (folder / LOCK).exists():  # its last holder deleted it after this process had opened it
            raise ValueError(busy())
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)  # before the lock is released to others
        lock.release()


def _matches(name: str, patterns: Sequence[str]) -> bool:
    parts = name.split("/")
    return any(
        len(parts) == pattern.count("/") + 1 and all(map(fnmatchcase, parts, pattern.split("/")))
        for pattern in patterns
    )


def _expand(folder: Path, pattern: Sequence[str]) -> Iterator[str]:
    """Yield names in `folder` that match; links are not followed, and a file in a folder's place is named itself."""
    head, *rest = pattern
    for name in (
        sorted(each.name for each in folder.iterdir() if fnmatchcase(each.name, head)) if folder.is_dir() else ()
    ):
        path = folder / name
        if not path.is_dir() or path.is_symlink():
            yield name
        elif rest:
            yield from (f"{name}/{each}" for each in _expand(path, rest))
        elif head == name:
            yield name
