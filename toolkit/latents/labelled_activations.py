"""Reads labelled documents once: activations and each token's label, from which any dictionary or probe is judged."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.devices import hold_on_cpu
from toolkit.harvest.activations import ReadBatch, read_batches
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.latents.span_labels import LabelledDocuments, token_labels
from toolkit.models.model_set import ModelSet
from toolkit.models.text.rows import padded
from toolkit.tracking import track

BATCH_TOKENS = 8192
Reader = Callable[[Iterable[TokenBatch]], Iterator[ReadBatch]]
"""Reads batches one after the other: the streams of models, or whatever labels are looked for in."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledTokens:
    """Tokens with their labels: units are chosen on those of even documents and tested on those of odd ones.

    They are on the CPU, wherever they were.
    """

    names: tuple[str, ...]
    label: Int[Tensor, " token"]
    """Index into `names`, -1 for none."""
    document: Int[Tensor, " token"]

    def __post_init__(self) -> None:
        hold_on_cpu(self)

    @cached_property
    def choosing(self) -> Bool[Tensor, " token"]:
        """Tokens of even documents, on which units are chosen and probes are fitted; the others test them."""
        return self.document % 2 == 0

    @cached_property
    def tested(self) -> Int[Tensor, " tested"]:
        """Document of each token that tests, counted from 0."""
        return self.document[~self.choosing] // 2

    def wanted(self, name: str) -> Bool[Tensor, " token"]:
        """Tokens that bear the label."""
        return self.label == self.names.index(name)

    @cached_property
    def measurable(self) -> tuple[str, ...]:
        """Labels with tokens in both halves of the documents, in their order; raises `ValueError` where none has."""
        halves = [set(self.label[half].tolist()) for half in (self.choosing, ~self.choosing)]
        found = tuple(name for number, name in enumerate(self.names) if all(number in half for half in halves))
        if not found:
            raise ValueError(
                f"none of the labels {', '.join(self.names)} has tokens both in even and in odd documents, one half to"
                " choose a unit and one to test it: give more labelled documents"
            )
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledActivations:
    """What was read at labelled tokens, such as the models' streams in raw units, on the CPU."""

    tokens: LabelledTokens
    activations: Float[Tensor, "token stream d_model"]
    token_id: Int[Tensor, " token"]
    position: Int[Tensor, " token"]
    """Each token's place in its document."""
    rows: Sequence[Sequence[int]]
    """The ids of each document, cut to the length of a row, those of tokens that do not count among them."""

    def __post_init__(self) -> None:
        hold_on_cpu(self)


def labelled_activations(
    models: ModelSet, mask: TokenMask, labelled: LabelledDocuments, row_length: int
) -> LabelledActivations:
    """Read labelled documents, cut to `row_length` tokens."""
    return read_labelled(models.tokenizer, labelled, row_length, lambda batches: read_batches(models, batches, mask))


def read_labelled(
    tokenizer: PreTrainedTokenizerBase, labelled: LabelledDocuments, row_length: int, read_each: Reader
) -> LabelledActivations:
    """Read labelled documents, cut to `row_length` tokens, by a function that reads batches."""
    ids, labels = labelled_ids(tokenizer, labelled, row_length)
    n_rows = max(1, BATCH_TOKENS // row_length)
    chunks = [range(first, min(first + n_rows, len(ids))) for first in range(0, len(ids), n_rows)]
    batches = (TokenBatch(*padded([ids[row] for row in rows])) for rows in chunks)
    parts: list[tuple[Tensor, ...]] = []
    counted = track(read_each(batches), "reading labelled text", "batches", total=len(chunks))
    for read, rows in zip(counted, chunks, strict=True):
        here, ids_here = read.selected, read.batch.input_ids
        label, _ = padded([labels[row] for row in rows], -1)
        document = torch.tensor(rows)[:, None].expand_as(label)
        position = torch.arange(label.shape[1]).expand_as(label)
        parts.append((read.activations.float().cpu(), *(each[here] for each in (ids_here, label, document, position))))
    activations, token_id, label, document, position = (torch.cat(part) for part in zip(*parts, strict=True))
    tokens = LabelledTokens(names=labelled.labels, label=label, document=document)
    return LabelledActivations(tokens=tokens, activations=activations, token_id=token_id, position=position, rows=ids)


def labelled_ids(
    tokenizer: PreTrainedTokenizerBase, labelled: LabelledDocuments, row_length: int
) -> tuple[Sequence[list[int]], list[list[int]]]:
    """Return each document's ids, and the number of each id's label, -1 for none."""
    encoding = tokenizer(
        [document.text for document in labelled.documents],
        return_offsets_mapping=True,
        truncation=True,
        max_length=row_length,
    )
    number = {label: index for index, label in enumerate(labelled.labels)} | {None: -1}
    labels = [
        [number[label] for label in token_labels(document.spans, offsets)]
        for document, offsets in zip(labelled.documents, encoding["offset_mapping"], strict=True)
    ]
    return encoding["input_ids"], labels
