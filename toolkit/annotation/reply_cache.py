"""Replies of servers in a file: several processes may use it at the same time, and a kill at any moment loses none."""

import json
import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from toolkit.outputs import Claim

REPLIES = Claim(changing=("replies.sqlite", "replies.sqlite-journal"))
"""The file of replies in a folder of findings, and the one beside it in which SQLite prepares a change."""
WAIT = 60.0


class ReplyCache:
    """Maps requests to replies, both as JSON objects, in an SQLite file; any number of threads may use it.

    Raises `ValueError` where the file cannot be used: it is another file, the disk is full, or another process holds it
    for a minute.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self._file = sqlite3.connect(path, timeout=WAIT, check_same_thread=False, isolation_level=None)
            weakref.finalize(self, self._file.close).atexit = False  # threads may still be at it
            self._file.execute("CREATE TABLE IF NOT EXISTS replies (digest TEXT PRIMARY KEY, request TEXT, reply TEXT)")

    def get(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the reply to a request, or None."""
        with self._explained():
            found = self._file.execute("SELECT reply FROM replies WHERE digest = ?", (_digest(request),)).fetchone()
        return None if found is None else json.loads(found[0])

    def put(self, request: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        """Keep a reply; it is on the disk when this returns. The first reply to a request stays."""
        row = (_digest(request), _written(request), _written(reply))
        with self._explained():
            self._file.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?)", row)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise ValueError(
                    f"{self._path}: the replies of the server cannot be kept here ({error}): free the disk, move the"
                    " file away, or give --out another folder"
                ) from error


def _written(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)


def _digest(request: Mapping[str, Any]) -> str:
    return sha256(_written(request).encode()).hexdigest()
