"""Standard output and error that accept any text, and that may be closed without an end to the work.

Characters that a stream's encoding lacks are spelled in ASCII. When the reader has gone, as behind `| head -1`, output
is dropped, and the work goes on.
"""

import codecs
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unicodedata import normalize

from rich.cells import cell_len

SPELLED = "spelled in ASCII"
"""The error handler of codecs that spells what an encoding lacks."""
_SPELLING = {
    **dict.fromkeys("−–—─━‐‑═", "-"),
    **dict.fromkeys("│┃║", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼╔╗╚╝", "+"),
    **dict.fromkeys("█▉▊▋▌▍▎▏▓", "#"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”„", '"'),
    **{
        "→": "->",
        "←": "<-",
        "↦": "->",
        "…": "...",
        "≥": ">=",
        "≤": "<=",
        "≈": "~",
        "±": "+-",
        "∞": "inf",
        "√": "sqrt ",
    },
    **{"×": "x", "·": "*", "•": "*", "²": "^2", "⁶": "^6", "½": "1/2", "‖": "||", "«": "<<", "»": ">>", "⏎": "\\n"},
    **{
        "λ": "lambda",
        "ν": "nu",
        "θ": "theta",
        "ε": "eps",
        "β": "beta",
        "μ": "mu",
        "µ": "mu",
        "σ": "sigma",
        "Σ": "sum ",
    },
    **{"▁": "_", "Ġ": "_", "✓": "ok", "✗": "x"},
}
_READER_GONE = (errno.EPIPE, errno.EIO)  # of a pipe, of a terminal


def spelled(character: str) -> str:
    """Return a character in ASCII: a spelling, the letter without its accents, or ? as wide as the character."""
    letters = normalize("NFKD", character).encode("ascii", "ignore").decode("ascii")
    return _SPELLING.get(character) or letters or "?" * cell_len(character)


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Spell what cannot be encoded; a longer spelling takes its room from the blanks after it, which fill a column."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking, after = error.object[error.start : error.end], error.object[error.end :]
    spelling = "".join(map(spelled, lacking))
    blanks = len(after) - len(after.lstrip(" "))
    return spelling, error.end + max(0, min(len(spelling) - cell_len(lacking), blanks - 1))


codecs.register_error(SPELLED, _spell)


class LossyFile(io.FileIO):
    """A file descriptor that drops what it cannot write.

    failure: why writing failed, or None where it did not, or where the reader had gone.
    """

    failure: OSError | None = None

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
        """Return how many bytes were written or dropped; wait while a descriptor that does not block is full."""
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError as error:
            if error.errno not in _READER_GONE:
                self.failure = error
            return len(data)
        return written


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Let stdout and stderr take any text and outlive their readers, from now to the end of the process.

    A stream that was closed before Python started is opened on the null device: else the next file would get its
    descriptor, and with it whatever a library writes there. Streams that a test or a notebook put in place stay.
    Raises `OSError` after the block where output was lost for another reason, such as a full disk.
    """
    files = []
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            if stream is getattr(sys, f"__{name}__"):
                stream, file = _lossy(stream)
                files.append(file)
                setattr(sys, name, stream)
            stream.reconfigure(errors=SPELLED)
    yield
    sys.stdout.flush()
    for file in files:
        if file.failure:
            raise OSError(f"the work is done, but its output could not be written: {file.failure}")


def _lossy(stream: io.TextIOWrapper) -> tuple[io.TextIOWrapper, LossyFile]:
    stream.flush()
    file = LossyFile(stream.fileno(), "wb", closefd=False)
    return (
        io.TextIOWrapper(
            file if stream.write_through else io.BufferedWriter(file),  # type: ignore[type-var]
            encoding=stream.encoding,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        ),
        file,
    )
