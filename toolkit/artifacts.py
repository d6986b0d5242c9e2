"""Files written in one move, so that none is half written; their hashes; and the record of where a result came from."""

import errno
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

PACKAGES = ("torch", "nnsight", "transformers", "accelerate", "datasets", "safetensors", "numpy")
SEAL = "seal"
HASHES_KEY = "sha256"


class DiskFullError(OSError):
    """The disk has too little room; what was saved before is whole."""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file in one move.

    Raises:
        DiskFullError: the disk has too little room; a file that was there before is unchanged.
    """
    with explaining_a_full_disk(path.parent, lambda: ": free some space, or write elsewhere"):
        replace_text(path, as_json(content))


def read_json(path: Path, *, unique: bool = False) -> Any:
    """Read a JSON file, with or without a byte order mark; with `unique` a name that stands twice is an error.

    Raises:
        ValueError: the file is not JSON. FileNotFoundError: there is no such file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once if unique else None)
    except (ValueError, RecursionError) as error:  # RecursionError: it is nested too deeply
        raise ValueError(f"{path} is not JSON: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it holds {next(name for name in names if names.count(name) > 1)!r} twice")
    return content


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        ValueError: the file holds something else. FileNotFoundError: there is no such file.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, expected a JSON object")
    return content


def read_section(path: Path, name: str) -> dict[str, Any]:
    """Read the object under `name` in a JSON file, empty where there is none; raises as `read_json_object` does.

    Where the file also holds the object's sha256, the two are compared, as in `check_hash`.
    """
    content = read_json_object(path)
    section = content.get(name, {})
    if not isinstance(section, dict):
        raise ValueError(f'{path} holds {type(section).__name__} under "{name}", expected a JSON object')
    check_hash(path, name, digest(section), content)
    return section


def check_hash(path: Path, name: str, found: str, content: Mapping[str, Any]) -> None:
    """Raise `ValueError` where `content` records another sha256 of `name` than `found`, that of the file at `path`."""
    hashes = content.get(HASHES_KEY)
    if isinstance(hashes, dict) and hashes.get(name, found) != found:
        raise ValueError(
            f'{path} is not as it was saved: its sha256 differs from "{name}" under "{HASHES_KEY}" in'
            f" {path.parent / 'config.json'}. Copy the folder's files again, or delete that entry if you changed it"
        )


def digest(content: Any) -> str:
    """Return the sha256 of a value written as JSON; the order of keys does not matter."""
    written = json.loads(json.dumps(content, default=str))
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file in one move, with the sha256 of its content for `read_sealed`; raises as `write_json` does."""
    with explaining_a_full_disk(path.parent, lambda: ": free some space, or write elsewhere"):
        replace_text(path, json.dumps({**content, SEAL: digest(content)}) + "\n")


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `write_sealed` wrote; raises as `read_json_object` does, and `ValueError` where the content changed."""
    content = read_json_object(path)
    if content.pop(SEAL, None) != digest(content):
        raise ValueError(f"{path} is not as it was written: its sha256 differs")
    return content


def as_json(content: Mapping[str, Any]) -> str:
    """Return indented JSON, which people can read, with a line break at its end."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def replace_text(path: Path, text: str) -> None:
    """Write a text file as `replace_bytes` does."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a file in one move: where the process is killed, it holds the old content or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def explaining_a_full_disk(folder: Path, advice: Callable[[], str]) -> Iterator[None]:
    """Raise `DiskFullError` where the block fails because the disk of `folder` is full; `advice` ends the message.

    Where one of these blocks is inside another, the message has the outer one's folder and advice.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        if not full and not any(sign in str(error) for sign in ("No space left", "File too large", "quota")):
            raise
        cause = (isinstance(error, DiskFullError) and error.__cause__) or error
        raise DiskFullError(errno.ENOSPC, f"no room left to write to {folder} ({cause}){advice()}") from cause


def flush(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def provenance(
    *, seed: int | None, data: Mapping[str, Any], inputs: Mapping[str, str], models: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what a result came from: versions, seed, command, commit, data, models, each input file's sha256.

    `models` holds a fingerprint for each model name.
    """
    return {
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "commit": _commit(),
        "seed": seed,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "data": dict(data),
        "models": dict(models or {}),
        "sha256": dict(inputs),
    }


def sha256(path: Path) -> str:
    """Hash of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_hash() -> str:
    """Hash of all of this package's files, code and data: results that other code computed may differ."""
    found = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        found.update(f"{path.relative_to(root)} {sha256(path)}\n".encode())
    return found.hexdigest()


def _commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # not a checkout, or no git: the versions still say what ran
    return done.stdout.strip()
