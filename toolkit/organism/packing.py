"""Training rows for the organism: whole documents, packed best-fit into rows of fixed length."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.organism.documents import Document

ROW_LENGTH = 320
WINDOW = 1024


@dataclass(frozen=True)
class Rows:
    """Packed rows; `document` numbers the documents within a row, -1 where nothing stands."""

    input_ids: Int[Tensor, "row position"]
    document: Int[Tensor, "row position"]
    weight: Float[Tensor, "row position"]

    def __len__(self) -> int:
        return len(self.input_ids)

    def select(self, rows: slice | Tensor) -> "Rows":
        """Some of the rows."""
        return Rows(self.input_ids[rows], self.document[rows], self.weight[rows])


def pack(documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase, tokens: int, seed: int) -> Rows:
    """Pack documents until the rows hold about `tokens` tokens, and shuffle the rows.

    A document longer than a row is left out. The first token of a document weighs nothing in the loss.
    """
    stream = iter(documents)
    wanted = tokens // ROW_LENGTH
    bins: list[list[tuple[list[int], list[float]]]] = []
    while len(bins) < wanted:
        bins += _best_fit(_encode(list(islice(stream, WINDOW)), tokenizer))
    rows = Rows(*map(torch.stack, zip(*(_row(content, tokenizer) for content in bins), strict=True)))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows.select(order[:wanted])


def attention_mask(document: Int[Tensor, "row position"]) -> Bool[Tensor, "row 1 position position"]:
    """Causal attention within documents."""
    same = document[:, :, None] == document[:, None, :]
    return same.tril()[:, None]


def position_ids(document: Int[Tensor, "row position"]) -> Int[Tensor, "row position"]:
    """Positions counted from each document's own start."""
    position = torch.arange(document.shape[1]).expand_as(document)
    starts = torch.ones_like(document, dtype=torch.bool)
    starts[:, 1:] = document[:, 1:] != document[:, :-1]
    return position - torch.where(starts, position, 0).cummax(dim=1).values


def _encode(documents: list[Document], tokenizer: PreTrainedTokenizerBase) -> list[tuple[list[int], list[float]]]:
    encoding = tokenizer([document.text for document in documents], return_offsets_mapping=True)
    encoded = []
    for document, ids, offsets in zip(documents, encoding["input_ids"], encoding["offset_mapping"], strict=True):
        ends = [end for end, _ in document.weights]
        weights = [document.weights[bisect_left(ends, end)][1] for _, end in offsets[1:]]
        encoded.append(([*ids, tokenizer.eos_token_id], [0.0, *weights, 1.0]))
    return [item for item in encoded if len(item[0]) <= ROW_LENGTH]


def _best_fit(
    items: list[tuple[list[int], list[float]]],
) -> list[list[tuple[list[int], list[float]]]]:
    """Longest first, each into the fullest row that still has room."""
    room: list[tuple[int, int]] = []
    bins: list[list[tuple[list[int], list[float]]]] = []
    for item in sorted(items, key=lambda item: -len(item[0])):
        length = len(item[0])
        at = bisect_left(room, (length, -1))
        left, number = room.pop(at) if at < len(room) else (ROW_LENGTH, len(bins))
        if number == len(bins):
            bins.append([])
        bins[number].append(item)
        entry = (left - length, number)
        room.insert(bisect_left(room, entry), entry)
    return bins


def _row(
    content: list[tuple[list[int], list[float]]], tokenizer: PreTrainedTokenizerBase
) -> tuple[Tensor, Tensor, Tensor]:
    input_ids = torch.full((ROW_LENGTH,), tokenizer.pad_token_id, dtype=torch.int32)
    document = torch.full((ROW_LENGTH,), -1, dtype=torch.int32)
    weight = torch.zeros(ROW_LENGTH)
    start = 0
    for number, (ids, weights) in enumerate(content):
        end = start + len(ids)
        input_ids[start:end] = torch.tensor(ids, dtype=torch.int32)
        document[start:end] = number
        weight[start:end] = torch.tensor(weights)
        start = end
    return input_ids, document, weight
