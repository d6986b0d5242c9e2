"""Makes text of unknown origin safe to print: it cannot move the cursor, change colours, or hide other text."""

import re
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.segment import Segment

# ECMA-48: a control string up to its end, a control sequence, an escape of two or three characters; ESC [ may be \x9b.
# Of a string without an end (rich drops BEL before this sees it) only the start is removed, so that no text is lost.
_SEQUENCE = re.compile(
    r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ORDER = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_BREAK = re.compile(r"[\u2028\u2029]")
_HALF = re.compile(r"[\ud800-\udfff]")


def harmless(text: str) -> str:
    """Return text without escape sequences, control characters and marks that change the order of what is shown.

    Line breaks and tabs stay; halves of surrogate pairs, which cannot be written to a terminal, become �.
    """
    text = _CONTROL.sub("", _SEQUENCE.sub("", text))
    return _HALF.sub("�", _BREAK.sub(" ", _ORDER.sub("", text)))


def one_line(text: str, longest: int = 300) -> str:
    """Return `harmless` text on one line; where it is longer than `longest` characters, its middle is left out."""
    words = " ".join(harmless(text).split())
    if len(words) <= longest:
        return words
    return f"{words[: longest * 2 // 3]} … {words[-longest // 3 :]}"


class Harmless(ConsoleRenderable):
    """Content to print, with its text made `harmless`; the console's own colours stay."""

    def __init__(self, content: RenderableType) -> None:
        self.content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.content, options):
            yield segment if segment.control else Segment(harmless(segment.text), segment.style)


class _Filter(RenderHook):
    def process_renderables(self, renderables: Sequence[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [Harmless(each) for each in renderables]


def harmless_console(console: Console) -> Console:
    """Let a console print all text as `harmless` makes it, and return it."""
    console.push_render_hook(_Filter())
    return console
