"""Examples in SQLite: one row an example, saved so that a kill at any moment leaves the last save whole."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from toolkit.latents.examples import KeptFirings, TopExamples

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS examples (
    latent INTEGER NOT NULL, kind TEXT NOT NULL, rank INTEGER NOT NULL, key REAL NOT NULL, score REAL NOT NULL,
    document INTEGER NOT NULL, position INTEGER NOT NULL, tokens BLOB NOT NULL, activations BLOB NOT NULL,
    PRIMARY KEY (latent, kind, rank)
) WITHOUT ROWID;
"""
INSERT = "INSERT OR REPLACE INTO examples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class ExampleStore:
    """A file of `TopExamples` and of how far the pass over the text has come.

    Table `examples`: a latent's `kind` is "top" or "sampled", `rank` 0 has the largest key; `tokens` are int32 ids of
    the window (-1 beyond the document), `activations` float32 codes. Table `meta`: settings, progress, tensors.
    """

    def __init__(self, path: Path | str, settings: Mapping[str, Any]) -> None:
        """Open or begin a file; raises ValueError for one that is no store, or was begun with other settings."""
        self.path = str(path)
        try:
            self._database = sqlite3.connect(self.path)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path} cannot be used as SQLite file ({error}): give another --out") from error
        self._settings = json.dumps(settings)
        self._check_settings(json.loads(self._settings))

    def _check_settings(self, wanted: dict[str, Any]) -> None:
        saved = self._read("settings")
        began = wanted if saved is None else json.loads(saved)
        differing = sorted(name for name in began.keys() | wanted.keys() if began.get(name) != wanted.get(name))
        if differing:
            changes = ", ".join(f"{name}: {began.get(name)!r} then, {wanted.get(name)!r} now" for name in differing)
            raise ValueError(
                f"{self.path} was begun with other settings ({changes}): give the same ones or another --out, or delete"
                " the file"
            )

    def save(self, examples: TopExamples, progress: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write what changed since the last save, and how far the pass is, in one transaction."""
        state = {"generator": examples.generator.get_state(), **{n: t.cpu().contiguous() for n, t in tensors.items()}}
        with self._database:
            for kind, kept in _kinds(examples).items():
                self._database.executemany(INSERT, _rows(kind, kept))
            self._write("settings", self._settings.encode())
            self._write("progress", json.dumps({**progress, "documents": examples.documents}).encode())
            self._write("tensors", save(state))
        for kept in _kinds(examples).values():
            kept.changed[:] = False

    def load(self, examples: TopExamples) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Fill `examples` with what was saved; return progress and tensors, or None where nothing was saved yet."""
        progress, state = self._read("progress"), self._read("tensors")
        if progress is None or state is None:
            return None
        tensors = load(state)
        examples.generator.set_state(tensors.pop("generator"))
        saved: dict[str, Any] = json.loads(progress)
        examples.documents = saved.pop("documents")
        for kind, kept in _kinds(examples).items():
            self._fill(kept, kind)
        return saved, tensors

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
