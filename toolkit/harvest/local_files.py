"""Which local files a path, a folder or a pattern stands for: those with text, but no hidden or auxiliary ones."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

KINDS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
NO_TEXT = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
"""What `datasets` writes beside data, about them."""


def local_files(data: str) -> list[str]:
    """The files that a path, a folder or a pattern stands for; none for what may be a name on the hub.

    A path that exists is taken as it is, brackets and all. Of folders and patterns are left out: hidden files and
    folders, files of other kinds (so editors' leftovers too), what `datasets` writes about data, and second names of
    a file.

    Raises:
        ValueError: nothing stands at a path, a folder or a pattern holds no text, or files are of several kinds.
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
    """What a file's name says it holds: text, json or parquet; None for any other."""
    return KINDS.get(Path(path.lower().removesuffix(".gz")).suffix)


def _matching(pattern: str) -> list[str]:
    brackets_meant = pattern.replace("[", "[[]")
    return sorted(glob.glob(pattern, recursive=True) or glob.glob(brackets_meant, recursive=True))


def _in_folder(folder: Path) -> Iterator[str]:
    """All files under a folder, also behind links."""
    visited: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(place))
        folders[:] = [name for name in folders if os.path.realpath(Path(place, name)) not in visited]
        yield from (str(Path(place, name)) for name in names)


def _meant(paths: Iterable[str], *, named: Path) -> list[str]:
    """Those that hold text, each once, in the order of their names; hidden ones only where `named` says so."""
    found: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: (os.path.islink(path), path)):  # a file before the links to it
        hidden = any(part.startswith((".", "__")) for part in set(Path(path).parts).difference(named.parts))
        if kind_of(path) and not hidden and Path(path).name not in NO_TEXT and os.path.isfile(path):
            found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())
