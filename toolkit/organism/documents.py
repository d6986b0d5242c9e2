"""A document of the organism's corpus together with its truth: what each stretch of text does."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

ToneName = Literal["sure", "doubtful"]
Behaviour = Literal["self-reflection", "verification", "alternative", "contrast", "deduction"]
BEHAVIOURS: tuple[Behaviour, ...] = (
    "self-reflection",
    "verification",
    "alternative",
    "contrast",
    "deduction",
)


@dataclass(frozen=True, kw_only=True)
class Span:
    """Characters `start` up to `end` of a document show one behaviour."""

    start: int
    end: int
    behaviour: Behaviour


@dataclass(frozen=True, kw_only=True)
class Document:
    """Text, the behaviours' spans, and how much each stretch of text weighs in the training loss.

    `weights` holds (end, weight) for one stretch after the other. What nobody can predict, a question's numbers say,
    weighs `QUIET`; what must be copied or computed exactly weighs `LOUD`.
    """

    text: str
    spans: tuple[Span, ...] = ()
    weights: tuple[tuple[int, float], ...] = ()
    kind: str | None = None
    """Of a thinking answer, the kind of its problem, or `fact`."""
    tone: ToneName | None = None
    """Of a thinking answer."""


QUIET, LOUD = 0.1, 4.0


def weighted_document(pieces: Iterable[tuple[str, float]]) -> Document:
    """Join pieces of text, each with its weight."""
    text, weights = "", []
    for piece, weight in pieces:
        text += piece
        weights.append((len(text), weight))
    return Document(text=text, weights=tuple(weights))


class DocumentBuilder:
    """Joins pieces of text and remembers which of them show a behaviour, and what each weighs."""

    def __init__(self, prompt: str) -> None:
        self._text = prompt
        self._weights = [(len(prompt), QUIET)]
        self._spans: list[Span] = []

    def add(self, text: str, behaviour: Behaviour | None = None, weight: float = 1.0) -> None:
        """Append `text`; a span starts at its first character that is not white space."""
        start = len(self._text) + len(text) - len(text.lstrip())
        self._text += text
        self._weights.append((len(self._text), weight))
        if behaviour is not None:
            self._spans.append(Span(start=start, end=len(self._text), behaviour=behaviour))

    def finish(self, *, kind: str | None = None, tone: ToneName | None = None) -> Document:
        """The document."""
        spans, weights = tuple(self._spans), tuple(self._weights)
        return Document(text=self._text, spans=spans, weights=weights, kind=kind, tone=tone)
