"""The one message of a launched run that fails, shown below what torchrun or accelerate print at their end.

Each process keeps a file in one folder for as long as it has not ended well: its number and what it has to say. The
first also starts this file as a program, which waits for the launcher to end and prints what was said first. Only Linux
tells who the launcher is; elsewhere each process speaks for itself, at once.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.1  # seconds between two looks at the launcher


@dataclass(frozen=True)
class Launcher:
    """The program that started this process and perhaps others like it."""

    process: int
    started: str
    """When, as Linux counts: numbers of processes are used again."""
    start: tuple[str, ...]
    """Its command, up to the recipe that it starts."""

    @classmethod
    def find(cls) -> "Launcher | None":
        """The launcher, where there is one whose command ends in that of this process."""
        if not {"WORLD_SIZE", "ACCELERATE_MIXED_PRECISION"} & os.environ.keys():
            return None
        parent = os.getppid()
        started = _started(parent)
        try:
            words = Path(f"/proc/{parent}/cmdline").read_bytes().decode().split("\0")[:-1]
        except (OSError, UnicodeDecodeError):
            return None
        before = len(words) - len(sys.argv)
        if started is None or before < 1 or words[before:] != sys.argv:
            return None
        return cls(parent, started, tuple(_as_typed(words[:before])))


class Speaker:
    """A process that may be one of several under a launcher, of which one message is shown."""

    def __init__(self, launcher: Launcher | None, otherwise: str) -> None:
        """`otherwise` is shown where all were killed before they could say anything."""
        folder = _meeting_place(launcher, otherwise) if launcher else None
        self._file = folder / os.environ.get("LOCAL_RANK", "0") if folder else None
        self.is_launched = launcher is not None
        self._has_spoken = False
        if self._file:
            _write(self._file, None)

    def say(self, text: str) -> None:
        """Show a text, which ends in a new line, last on the screen; at once where there is no launcher."""
        self._has_spoken = True
        if self._file is None:
            print(text, end="", file=sys.stderr, flush=True)
        else:
            _write(self._file, text)

    def killed(self) -> list[str]:
        """The other processes that have ended without a word."""
        files = self._file.parent.iterdir() if self._file else ()
        held = ((file.name, _read(file)) for file in sorted(files))
        return [name for name, (process, said) in held if said is None and _started(process) is None]

    def end(self, *, well: bool) -> None:
        """End without a message."""
        if self._file and well:
            self._file.unlink(missing_ok=True)
        elif self._file and not self._has_spoken:
            _write(self._file, "")


@contextmanager
def speaking(launcher: Launcher | None, otherwise: str) -> Iterator[Speaker]:
    """Note how the block ends, for the process that shows the one message of a launched run."""
    speaker = Speaker(launcher, otherwise)
    try:
        yield speaker
    except BaseException as error:
        speaker.end(well=isinstance(error, SystemExit) and not error.code)
        raise
    speaker.end(well=True)


def _meeting_place(launcher: Launcher, otherwise: str) -> Path | None:
    """The folder of all that the launcher started, and who waits for its end, begun by the first to come."""
    folder = Path(tempfile.gettempdir()) / f"run-of-{launcher.process}-{launcher.started}"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        mine = not folder.is_symlink() and folder.stat().st_uid == os.getuid()
        return folder if mine else None
    except OSError:
        return None
    screen = _screen_of(launcher)
    waiting = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(folder), str(launcher.process), launcher.started, otherwise],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=screen,
        cwd="/",
        start_new_session=True,
    )
    waiting.returncode = 0  # it outlives this process, on purpose
    if screen is not None:
        os.close(screen)
    return folder


def _screen_of(launcher: Launcher) -> int | None:
    """Where the launcher writes, which may send what its processes write to files; None for where this one does."""
    try:
        return os.open(f"/proc/{launcher.process}/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)
    except OSError:
        return None


def _as_typed(words: list[str]) -> list[str]:
    """A command without the paths that a shell has put in."""
    if len(words) > 1 and Path(words[0]).name.startswith("python"):
        words = ["python", *words[1:]] if words[1].startswith("-") else words[1:]
    name = Path(words[0]).name
    return [name, *words[1:]] if name == "python" or shutil.which(name) == words[0] else words


def _started(process: int) -> str | None:
    """When a process began; None where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _write(file: Path, said: str | None) -> None:
    with suppress(OSError):  # a full disk: the run has more to lose than a message
        file.write_text(json.dumps([os.getpid(), said]))


def _read(file: Path) -> tuple[int, str | None]:
    try:
        process, said = json.loads(file.read_text())
    except (OSError, ValueError):
        return 0, None
    return process, said


def wait_and_speak(folder: Path, launcher: int, started: str, otherwise: str) -> None:
    """Wait for the launcher to end; then print what was said first, unless all ended well, and take the folder away."""
    while _started(launcher) == started:
        time.sleep(INTERVAL)
    left = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    said = [text for file in left if (text := _read(file)[1])]
    shutil.rmtree(folder)
    if left:
        with suppress(OSError):  # nobody reads any more
            sys.stderr.write(next(iter(said), otherwise))


if __name__ == "__main__":
    wait_and_speak(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
