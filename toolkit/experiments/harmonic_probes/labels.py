"""Labels as data: a class for each of some tokens of some documents, from what is known of the text.

Inside the thinking alone, where a document has any: there all kinds of text look alike, so that no place tells a class.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.experiments.harmonic_probes import BEHAVIOUR, HESITATES, KIND, TONE
from toolkit.latents.labelled_activations import labelled_ids
from toolkit.latents.span_labels import LabelledDocument, LabelledDocuments, LabelledSpan
from toolkit.models.text.chat import CLOSING, OPENING
from toolkit.organism.corpus import documents
from toolkit.organism.documents import BEHAVIOURS, Document

NEXT_CLASSES = ("another word", "hesitation")
NO_BEHAVIOUR = "no behaviour"
SEED = 31
"""Of the embedded text: other documents than those on which latents are judged."""

Spans = Callable[[Document], Iterable[LabelledSpan]]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledPlaces:
    """Places in documents, each with a class."""

    classes: tuple[str, ...]
    document: Int[Tensor, " token"]
    position: Int[Tensor, " token"]
    """In the document; never 0, an attention sink."""
    label: Int[Tensor, " token"]
    """Index into `classes`."""
    token_id: Int[Tensor, " token"]
    """The id that stands there."""

    @classmethod
    def of_tokens(
        cls, classes: Sequence[str], rows: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]
    ) -> "LabelledPlaces":
        """All tokens with a label, an index into `classes`; those with -1 have none."""
        places = [
            (document, position, label, rows[document][position])
            for document, of_document in enumerate(labels)
            for position, label in enumerate(of_document)
            if label >= 0 and position > 0
        ]
        columns = torch.tensor(places, dtype=torch.long).view(-1, 4).unbind(dim=1)
        names = ("document", "position", "label", "token_id")
        return cls(classes=tuple(classes), **dict(zip(names, columns, strict=True)))

    def at(self, chosen: Tensor) -> "LabelledPlaces":
        """Some of the places, by index or by a mask."""
        columns = (self.document, self.position, self.label, self.token_id)
        document, position, label, token_id = (column[chosen] for column in columns)
        return LabelledPlaces(
            classes=self.classes, document=document, position=position, label=label, token_id=token_id
        )

    def of_classes(self, kept: Sequence[int]) -> "LabelledPlaces":
        """The places of some classes, which are counted anew."""
        number = torch.full((len(self.classes),), -1)
        number[list(kept)] = torch.arange(len(kept))
        chosen = self.at(number[self.label] >= 0)
        return LabelledPlaces(
            classes=tuple(self.classes[each] for each in kept),
            document=chosen.document,
            position=chosen.position,
            label=number[chosen.label],
            token_id=chosen.token_id,
        )

    def counts(self) -> list[int]:
        """Places of each class."""
        return self.label.bincount(minlength=len(self.classes)).tolist()


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledText:
    """Documents as ids, and the labels that are known of them, by name."""

    rows: Sequence[Sequence[int]]
    labels: Mapping[str, LabelledPlaces]


def planted_text(
    tokenizer: PreTrainedTokenizerBase, n_documents: int, *, hesitation: Sequence[int], row_length: int
) -> LabelledText:
    """The embedded pair's held-out answers, whose tone, problem and behaviours are known.

    `hesitation` are the ids of hesitation words.
    """
    found = list(islice(documents("thinking", split="held_out", seed=SEED), n_documents))
    spans: dict[str, Spans] = {
        TONE: lambda document: [_thinking(document.text, str(document.tone))],
        KIND: lambda document: [_thinking(document.text, str(document.kind))],
        BEHAVIOUR: lambda document: [
            *(LabelledSpan(span.start, span.end, span.behaviour) for span in document.spans),
            _thinking(document.text, NO_BEHAVIOUR),  # the last one: of several spans of a token the first counts
        ],
    }
    order = {BEHAVIOUR: (*BEHAVIOURS, NO_BEHAVIOUR)}
    labelled = {name: _labelled(found, of, order.get(name)) for name, of in spans.items()}
    return _labelled_text(tokenizer, labelled, hesitation, row_length)


def text_of_file(
    tokenizer: PreTrainedTokenizerBase, labelled: LabelledDocuments, *, hesitation: Sequence[int], row_length: int
) -> LabelledText:
    """Documents of which spans are labelled; `hesitation` are the ids of hesitation words."""
    return _labelled_text(tokenizer, {BEHAVIOUR: labelled}, hesitation, row_length)


def _labelled_text(
    tokenizer: PreTrainedTokenizerBase,
    labelled: Mapping[str, LabelledDocuments],
    hesitation: Sequence[int],
    row_length: int,
) -> LabelledText:
    texts = [document.text for document in next(iter(labelled.values())).documents]
    inside = tuple(LabelledDocument(text, (_thinking(text, "thinking"),)) for text in texts)
    rows, thinking = labelled_ids(tokenizer, LabelledDocuments(documents=inside, labels=("thinking",)), row_length)
    labels = {
        HESITATES: LabelledPlaces.of_tokens(NEXT_CLASSES, rows, _next_words(rows, thinking, frozenset(hesitation)))
    }
    for name, each in labelled.items():
        _, numbers = labelled_ids(tokenizer, each, row_length)
        labels[name] = LabelledPlaces.of_tokens(each.labels, rows, numbers)
    return LabelledText(rows=rows, labels=labels)


def _next_words(
    rows: Sequence[Sequence[int]], thinking: Sequence[Sequence[int]], hesitation: frozenset[int]
) -> list[list[int]]:
    """Whether a hesitation word comes next, for tokens inside the thinking that another one follows there."""
    return [
        [
            int(following in hesitation) if here == after == 0 else -1
            for following, here, after in zip(row[1:], inside, inside[1:], strict=False)
        ]
        for row, inside in zip(rows, thinking, strict=True)
    ]


def _thinking(text: str, label: str) -> LabelledSpan:
    """The text between the marks of thinking; all of it where there are none."""
    start = text.find(OPENING)
    end = text.find(CLOSING, max(start, 0))
    return LabelledSpan(0 if start < 0 else start + len(OPENING), len(text) if end < 0 else end, label)


def _labelled(found: Sequence[Document], spans: Spans, classes: Sequence[str] | None) -> LabelledDocuments:
    """The same documents with these spans; without `classes` these are in the order of the alphabet."""
    labelled = tuple(LabelledDocument(document.text, tuple(spans(document))) for document in found)
    names = classes or sorted({span.label for document in labelled for span in document.spans})
    return LabelledDocuments(documents=labelled, labels=tuple(names))
