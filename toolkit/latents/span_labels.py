"""Documents in which spans of text are labelled: the truth against which latents are tested.

A file holds one record a line, of one of two kinds. Plain records hold `text` and `spans`, a list of
`{"start", "end", "label"}` in characters. Annotated records hold `response` and `annotated_response`, a copy of the
response whose sections stand between `["label"]` and `["end-section"]` (Venhoff et al. 2025). Annotators drop and
rephrase words, so each section is searched in the response itself, white space aside, and left out if not found.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.harvest.records import objects_of

SECTION = re.compile(r'\["((?!end-section)[^"\]]+)"\]((?:(?!\["[^"\]]+"\]).)*)\["end-section"\]', re.DOTALL)


@dataclass(frozen=True)
class LabelledSpan:
    """A label of the characters from `start` up to, without, `end`."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class LabelledDocument:
    """A text and its labelled spans; where two spans overlap, the first one counts."""

    text: str
    spans: tuple[LabelledSpan, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledDocuments:
    """Documents, and the labels in them, the most frequent first."""

    documents: tuple[LabelledDocument, ...]
    labels: tuple[str, ...]
    sections_left_out: int = 0
    """Number of annotated sections that their response does not hold word for word."""

    def first(self, n: int) -> "LabelledDocuments":
        """The first `n` documents, or all where there are fewer."""
        return replace(self, documents=self.documents[:n])


def token_labels(spans: Sequence[LabelledSpan], offsets: Sequence[Sequence[int]]) -> list[str | None]:
    """Return each token's label, that of the first span with its last character; `offsets` are character ranges."""
    return [next((span.label for span in spans if span.start < end <= span.end), None) for _, end in offsets]


def read_labelled_documents(path: Path) -> LabelledDocuments:
    """Read a .jsonl file of labelled documents.

    Raises `ValueError` for a line that is not such a record, which it names, and for a file without any label.
    """
    documents, left_out = [], 0
    for place, fields in objects_of(path):
        document, missing = _document(fields, place)
        documents.append(document)
        left_out += missing
    counts = Counter(span.label for document in documents for span in document.spans)
    if not counts:
        raise ValueError(f"{path} holds no labelled spans: each record needs text and spans, or an annotated_response")
    labels = tuple(label for label, _ in counts.most_common())
    return LabelledDocuments(documents=tuple(documents), labels=labels, sections_left_out=left_out)


def _document(record: Mapping[str, Any], where: str) -> tuple[LabelledDocument, int]:
    if isinstance(record.get("response"), str) and isinstance(record.get("annotated_response"), str):
        return _aligned(record["response"], SECTION.findall(record["annotated_response"]))
    if isinstance(record.get("text"), str) and isinstance(record.get("spans"), list):
        spans = tuple(_span(span, len(record["text"]), where) for span in record["spans"])
        return LabelledDocument(record["text"], spans), 0
    raise ValueError(
        f"{where} has fields {sorted(record)}: it needs text and spans, or response and annotated_response"
    )


def _span(span: Any, length: int, where: str) -> LabelledSpan:
    match span:
        case {"start": int(start), "end": int(end), "label": str(label)} if 0 <= start < end <= length:
            return LabelledSpan(start, end, label)
    raise ValueError(
        f'{where}: span {span!r} does not fit a text of {length} characters: give {{"start", "end", "label"}} with'
        " 0 <= start < end <= length"
    )


def _aligned(text: str, sections: Sequence[tuple[str, str]]) -> tuple[LabelledDocument, int]:
    """Find each section in the text, after the section before it or else anywhere; also count those not found."""
    places = [i for i, character in enumerate(text) if not character.isspace()]
    squeezed = "".join(text[i] for i in places)
    spans, reached, missing = [], 0, 0
    for label, section in sections:
        wanted = "".join(section.split())
        start = squeezed.find(wanted, reached)
        if start < 0:
            start = squeezed.find(wanted)
        if start < 0 or not wanted:
            missing += 1
            continue
        reached = start + len(wanted)
        spans.append(LabelledSpan(places[start], places[reached - 1] + 1, label))
    return LabelledDocument(text, tuple(spans)), missing
