"""Finds the text files that a path, a folder or a pattern stands for, without hidden and auxiliary ones."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

KINDS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
NO_TEXT = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
"""Files about data that `datasets` writes beside the data."""


def local_files(data: str) -> list[str]:
    """Return the files that a path, a folder or a pattern stands for; none for a text that may be a name on the hub.

    A path that exists is not read as a pattern, even if it has brackets. In folders and patterns these are left out:
    hidden files and folders, files of other kinds, such as editors' backups, what `datasets` writes about data, and
    further links to a file.

    Raises:
        ValueError: nothing is at the path, a folder or a pattern holds no text, or files are of several kinds.
    """
    path = Path(data).expanduser()
    if os.path.lexists(path) and not path.is_dir():
        if kind_of(str(path)) is None:
            raise ValueError(f"{data} is none of {', '.join(KINDS)} (.gz too): give a file of these kinds")
        return [str(path)]
    found = list(_in_folder(path)) if path.is_dir() else _matching(str(path))
    if not found and not path.is_dir():
        if path.suffix or data.startswith((".", "/", "~")):
            raise ValueError(f"no file at {data}: give a path, a pattern, a hub dataset, or the name of a known text")
        return []
    files = _meant(found, named=path)
    if not files:
        raise ValueError(f"{data} holds no {', '.join(KINDS)} files (.gz too): give a folder or file that does")
    if len({kind_of(file) for file in files}) > 1:
        kinds = ", ".join(sorted({Path(file.lower().removesuffix(".gz")).suffix for file in files}))
        raise ValueError(f"{data} holds {kinds} files: give files of one kind by a pattern, such as '*.jsonl'")
    return files


def kind_of(path: str) -> str | None:
    """Return what a file holds by its name: text, json or parquet; None for any other name."""
    return KINDS.get(Path(path.lower().removesuffix(".gz")).suffix)


def _matching(pattern: str) -> list[str]:
    brackets_meant = pattern.replace("[", "[[]")
    return sorted(glob.glob(pattern, recursive=True) or glob.glob(brackets_meant, recursive=True))


def _in_folder(folder: Path) -> Iterator[str]:
    """Yield all files under a folder; links are followed."""
    visited: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(place))
        folders[:] = [name for name in folders if os.path.realpath(Path(place, name)) not in visited]
        yield from (str(Path(place, name)) for name in names)


def _meant(paths: Iterable[str], *, named: Path) -> list[str]:
    """Return the files that hold text, each once, ordered by name; hidden ones only where `named` is hidden itself."""
    found: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: (os.path.islink(path), path)):  # a file before the links to it
        hidden = any(part.startswith((".", "__")) for part in set(Path(path).parts).difference(named.parts))
        if kind_of(path) and not hidden and Path(path).name not in NO_TEXT and os.path.isfile(path):
            found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())
