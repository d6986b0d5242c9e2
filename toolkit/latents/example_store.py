"""Examples in an SQLite file: one row an example; a process that is killed leaves the last save whole.

Each save includes a sha256 of everything saved, which is compared when the file is read.
"""

import errno
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from toolkit.artifacts import SEAL, DiskFullError, digest
from toolkit.dictionaries.storage import weights_hash
from toolkit.latents.examples import KeptFirings, TopExamples

VERSION = 2
"""Version of the tables and of what is saved in them."""
WAIT_SECONDS = 2.0
SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS examples (
    latent INTEGER NOT NULL, kind TEXT NOT NULL, rank INTEGER NOT NULL, key REAL NOT NULL, score REAL NOT NULL,
    document INTEGER NOT NULL, position INTEGER NOT NULL, tokens BLOB NOT NULL, activations BLOB NOT NULL,
    PRIMARY KEY (latent, kind, rank)
) WITHOUT ROWID;
COMMIT;
"""
INSERT = "INSERT OR REPLACE INTO examples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
HELD = ("SQLITE_BUSY", "SQLITE_LOCKED")
DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class ExampleStore:
    """A file that holds `TopExamples`, and how much of the text was read for them.

    Table `examples`: a latent's `kind` is "top" or "sampled", `rank` 0 has the largest key; `tokens` are int32 ids of
    the window (-1 beyond the document), `activations` float32 codes. Table `meta`: settings, progress, tensors, seal.

    Raises:
        ValueError: the file holds no examples, is damaged, is in use by another process, or has other settings.
        DiskFullError: the disk has too little room; the last save is whole.
    """

    def __init__(self, path: Path | str, settings: Mapping[str, Any]) -> None:
        """Open the file, or create it."""
        self.path = str(path)
        with self._explaining():
            self._database = sqlite3.connect(self.path, timeout=WAIT_SECONDS)
        self._settings = json.dumps({"version": VERSION, **settings})
        try:
            with self._explaining():
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.executescript(SCHEMA)  # fails now where another process holds the file
            self._check_settings(json.loads(self._settings))
        except BaseException:
            self.close()
            raise

    def _check_settings(self, wanted: dict[str, Any]) -> None:
        with self._explaining():
            saved = self._read("settings")
        try:
            began = wanted if saved is None else {**json.loads(saved)}
        except (ValueError, TypeError) as error:
            raise self._damaged(error) from error
        differing = sorted(name for name in began.keys() | wanted.keys() if began.get(name) != wanted.get(name))
        if differing:
            changes = ", ".join(f"{name}: {began.get(name)!r} then, {wanted.get(name)!r} now" for name in differing)
            raise ValueError(
                f"{self.path} was started with other settings ({changes}): give the same ones or another --out, or"
                " delete the file"
            )

    def save(self, examples: TopExamples, progress: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write the examples that changed since the last save, and the progress, in one transaction."""
        state = {"generator": examples.generator.get_state(), **{n: t.cpu().contiguous() for n, t in tensors.items()}}
        said = json.dumps({**progress, "documents": examples.documents})
        with self._explaining(), self._database:
            for kind, kept in _kinds(examples).items():
                self._database.executemany(INSERT, _rows(kind, kept))
            self._write("settings", self._settings.encode())
            self._write("progress", said.encode())
            self._write("tensors", save(state))
            self._write(SEAL, self._seal(said, state, examples).encode())
        for kept in _kinds(examples).values():
            kept.changed[:] = False

    def load(self, examples: TopExamples) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Fill `examples` with the saved ones; return progress and tensors, or None where nothing was saved yet."""
        with self._explaining():
            held = [self._read(name) for name in ("progress", "tensors", SEAL)]
            if not any(held):
                return None
            progress, state, seal = (each or b"" for each in held)
            try:
                said, tensors = progress.decode(), load(state)
                for kind, kept in _kinds(examples).items():
                    self._fill(kept, kind)
                if seal.decode() != self._seal(said, tensors, examples):
                    raise ValueError("its sha256 differs")
            except sqlite3.Error:
                raise
            except Exception as error:  # changed bytes raise errors of many classes
                raise self._damaged(error) from error
        examples.generator.set_state(tensors.pop("generator"))
        saved: dict[str, Any] = json.loads(said)
        examples.documents = saved.pop("documents")
        return saved, tensors

    def _seal(self, progress: str, state: Mapping[str, Tensor], examples: TopExamples) -> str:
        kept = {f"{kind}.{name}": t for kind, each in _kinds(examples).items() for name, t in each.tensors.items()}
        return digest([self._settings, progress, weights_hash({**state, **kept})])

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turn an error of SQLite in the block into one line that names the file and the remedy."""
        try:
            yield
        except sqlite3.Error as error:
            kind = getattr(error, "sqlite_errorname", "")
            if kind.startswith(FULL):
                full = f"no room left to write to {self.path} ({error}); the last save is whole: free some space"
                raise DiskFullError(errno.ENOSPC, f"{full}, and give the same command to continue") from error
            if kind.startswith(HELD):
                held = f"{self.path} is in use by another process ({error}): end that, or give another --out"
                raise ValueError(held) from error
            if kind.startswith(DAMAGED):
                raise self._damaged(error) from error
            raise ValueError(f"{self.path} cannot be used as an SQLite file ({error}): give another --out") from error

    def _damaged(self, error: Exception) -> ValueError:
        reason = " ".join(str(error).split())
        return ValueError(
            f"{self.path} is damaged, or no file of examples ({reason}): give another --out, or delete it, and the text"
            " is read again"
        )

    def _fill(self, kept: KeptFirings, kind: str) -> None:
        rows = self._database.execute("SELECT * FROM examples WHERE kind = ?", (kind,)).fetchall()
        if not rows:
            return
        latent, _, rank, key, score, document, position, tokens, activations = zip(*rows, strict=True)
        place = (torch.tensor(latent), torch.tensor(rank))
        columns = {
            "key": torch.tensor(key),
            "score": torch.tensor(score),
            "document": torch.tensor(document),
            "position": torch.tensor(position),
            "tokens": _unpacked(tokens, np.int32),
            "activations": _unpacked(activations, np.float32),
        }
        for name, values in columns.items():
            kept.tensors[name][place] = values.to(kept.tensors[name])

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> "ExampleStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, name: str) -> bytes | None:
        row = self._database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def _write(self, name: str, value: bytes) -> None:
        self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def _kinds(examples: TopExamples) -> dict[str, KeptFirings]:
    return {"top": examples.top, "sampled": examples.sampled}


def _rows(kind: str, kept: KeptFirings) -> Iterator[tuple[Any, ...]]:
    """The filled places of the latents that changed, as rows of the table."""
    changed = kept.changed.nonzero().squeeze(1)
    tensors = {name: tensor[changed].cpu() for name, tensor in kept.tensors.items()}
    line, rank = tensors["key"].isfinite().nonzero(as_tuple=True)
    numbers = [tensors[name][line, rank].tolist() for name in ("key", "score", "document", "position")]
    tokens, activations = (tensors[name].numpy() for name in ("tokens", "activations"))
    latents = changed.cpu()[line].tolist()
    for latent, at, place, *values in zip(latents, line.tolist(), rank.tolist(), *numbers, strict=True):
        yield latent, kind, place, *values, tokens[at, place].tobytes(), activations[at, place].tobytes()


def _unpacked(blobs: Sequence[bytes], kind: type[np.generic]) -> Tensor:
    return torch.from_numpy(np.frombuffer(bytearray().join(blobs), kind).reshape(len(blobs), -1))
