"""Turns texts into activations: `harvest_texts` reads all at once, `harvest_chunks` chunk by chunk."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.arguments import Indices, as_index, as_number, plain
from toolkit.formatting import counted
from toolkit.harvest.activations import ReadBatch, read_batches
from toolkit.harvest.documents import open_records, text_of
from toolkit.harvest.reasoning_records import MESSAGES
from toolkit.harvest.records import usable
from toolkit.harvest.tokens import CUT_OFF, TokenBatch, TokenMask
from toolkit.models.model.layers import check_layers
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.models.streams import stream_names
from toolkit.models.text.inputs import as_rows, check_context, is_single
from toolkit.models.text.rows import by_length, padded
from toolkit.models.text.tokenizers import encode
from toolkit.tracking import track

ROW_LENGTH, FORWARD_TOKENS, CHUNK_TOKENS, TOGETHER = 2048, 8192, 65_536, 256
DROPPED = ("position_0", "outlier_norm", CUT_OFF)
FIELDS, NAME_LENGTH = ("text", *MESSAGES), 256

Texts = str | Path | Iterable[Any] | Any
"""A string, a conversation, a list or another iterable of these, a dataset of `datasets`, or the `Path` of a file."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Harvest:
    """Activations, in raw units, of the tokens that count, text after text, in the order of the tokens."""

    activations: Float[Tensor, "token stream d_model"]
    ids: Int[Tensor, " token"]
    documents: Int[Tensor, " token"]
    """Number of the text of each token, in the order in which texts were given."""
    positions: Int[Tensor, " token"]
    """Each token's position in its text; the first is 0."""
    streams: tuple[str, ...]
    """Names of the streams: the models' names, or with several layers `base_layer10` and so on."""
    models: tuple[str, ...]
    """Names of the models that were read; `origins` says where each came from, `layers` at which inputs."""
    origins: tuple[str, ...]
    layers: tuple[int, ...]
    left_out: dict[str, int]
    """Numbers of tokens that do not count, by reason."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, stream: str) -> Float[Tensor, "token d_model"]:
        """Return the activations of one stream; raises `ValueError` for a name that no stream has."""
        if stream not in self.streams:
            raise ValueError(f"no stream {stream!r}: give one of {', '.join(self.streams)}")
        return self.activations[:, self.streams.index(stream)]

    def __repr__(self) -> str:
        texts, dtype = counted(len(self.documents.unique()), "text"), str(self.activations.dtype).removeprefix("torch.")
        left_out = ", ".join(f"{n:,} {reason}" for reason, n in self.left_out.items())
        return (
            f"Harvest: {counted(len(self), 'token')} of {texts} × {', '.join(self.streams)}"
            f" × {self.activations.shape[2]:,} numbers, {dtype} on {self.activations.device}\n"
            f"left out: {left_out}"
        )


def harvest_texts(
    models: ModelSet,
    texts: Texts,
    *,
    layers: Indices | None = None,
    row_length: SupportsIndex | Any = None,
    keep_position_0: bool = False,
    outlier_factor: SupportsFloat | Any = 10.0,
) -> Harvest:
    """Read the residual streams of the models on texts, at the input of `layers` (by default the models').

    A text is a string, a conversation, which the chat template lays out, or a list of ids. Of a record of a dataset or
    of a file, the field `text` is read, else its messages; those of a file are joined without the chat template. A text
    longer than `row_length` tokens is cut: by default 2,048, or the models' context where that is less.
    Two kinds of tokens are left out: the first of each text, an attention sink of huge norm, unless `keep_position_0`
    is set; and those whose norm in any stream is above `outlier_factor` times the running median (inf keeps all). All
    activations are held in memory at once; `harvest_chunks` yields them chunk by chunk.
    Raises `ValueError` for anything but texts, for texts without a token that counts, and as `ModelSet.residual` does.
    """
    chunks = list(
        harvest_chunks(
            models,
            texts,
            layers=layers,
            row_length=row_length,
            keep_position_0=keep_position_0,
            outlier_factor=outlier_factor,
        )
    )
    if not any(map(len, chunks)):
        raise ValueError("the texts hold no token that counts: give texts of at least two tokens")
    left_out: Counter[str] = Counter()
    for chunk in chunks:
        left_out.update(chunk.left_out)
    names = ("activations", "ids", "documents", "positions")
    tensors: dict[str, Any] = {name: torch.cat([getattr(chunk, name) for chunk in chunks]) for name in names}
    return replace(chunks[0], **tensors, left_out=dict(left_out))


def harvest_chunks(
    models: ModelSet,
    texts: Texts,
    *,
    layers: Indices | None = None,
    row_length: SupportsIndex | Any = None,
    keep_position_0: bool = False,
    outlier_factor: SupportsFloat | Any = 10.0,
    chunk_tokens: SupportsIndex | Any = CHUNK_TOKENS,
) -> Iterator[Harvest]:
    """Yield what `harvest_texts` returns in chunks of whole texts, at least `chunk_tokens` tokens each.

    Texts are taken from the iterable as they are needed. Raises `ValueError` as `harvest_texts` does, except that a
    chunk may hold no token that counts.
    """
    models = models if layers is None else replace(models, layers=check_layers(layers, models.n_layers))
    mask = open_mask(keep_position_0, outlier_factor)
    seen = Counter[str]()
    for batches in batch_texts(models, texts, row_length=row_length, chunk_tokens=chunk_tokens):
        with torch.no_grad():
            reading = read_batches(models, batches, mask)
            reads = list(track(reading, "reading text", "batches", total=len(batches)))
        if not reads:
            continue
        counts, seen = mask.counts - seen, Counter(mask.counts)
        yield _in_order(models, reads, {reason: counts[reason] for reason in DROPPED})


def open_mask(keep_position_0: bool = False, outlier_factor: SupportsFloat | Any = 10.0) -> TokenMask:
    """Return the mask that decides which tokens count when texts are given from Python."""
    factor = as_number(outlier_factor, "outlier_factor")
    return TokenMask(special_ids=frozenset(), keep_position_0=keep_position_0, outlier_factor=factor)


def batch_texts(
    models: ModelSet | TracedModel,
    texts: Texts,
    *,
    row_length: SupportsIndex | Any = None,
    chunk_tokens: SupportsIndex | Any = CHUNK_TOKENS,
) -> Iterator[list[TokenBatch]]:
    """Yield chunks as lists of batches; a chunk has whole texts, in order, and a batch texts of similar length.

    Raises `ValueError` for anything but texts, and for rows longer than the models' context.
    """
    length = min(ROW_LENGTH, models.context) if row_length is None else as_index(row_length, "row_length")
    chunk_tokens = as_index(chunk_tokens, "chunk_tokens")
    if length < 1 or chunk_tokens < 1:
        raise ValueError(f"row_length {length}, chunk_tokens {chunk_tokens}: give at least 1 of each")
    check_context(length, models.context, f"row_length {length}", "lower it to that")
    chunk: list[tuple[int, list[int]]] = []
    held = 0
    for number, row in enumerate(_rows(models.tokenizer, texts)):
        chunk.append((number, row))
        held += min(len(row), length)
        if held >= chunk_tokens:
            yield _batches(chunk, length)
            chunk, held = [], 0
    if chunk:
        yield _batches(chunk, length)


def _batches(chunk: list[tuple[int, list[int]]], length: int) -> list[TokenBatch]:
    rows = [(number, row) for number, row in chunk if row]
    cut_off = Counter({CUT_OFF: sum(max(0, len(row) - length) for _, row in rows)})
    groups = by_length([min(len(row), length) for _, row in rows], max(length, FORWARD_TOKENS))
    return [
        TokenBatch(
            *padded([rows[place][1][:length] for place in group]),
            counts=Counter() if index else cut_off,
            documents=torch.tensor([rows[place][0] for place in group]),
        )
        for index, group in enumerate(groups)
    ]


def _rows(tokenizer: PreTrainedTokenizerBase, texts: Texts) -> Iterator[list[int]]:
    """Yield the ids of each text; an empty list for a text without tokens."""
    items = iter(_items(texts))
    while together := list(islice(items, TOGETHER)):
        if all(isinstance(item, str) for item in together):
            yield from encode(tokenizer, together)
        else:
            for item in together:
                yield from encode(tokenizer, [item]) if isinstance(item, str) else as_rows(tokenizer, item)


def _items(texts: Texts) -> Iterable[Any]:
    """Yield texts one by one: strings, conversations or ids."""
    if isinstance(texts, Path):
        name = str(texts)
        return usable(open_records(name), lambda fields: text_of(fields, FIELDS[0])[0], Counter(), data=name)
    if isinstance(texts, str):
        if len(texts) < NAME_LENGTH and Path(texts).is_file():
            raise ValueError(f"{texts!r} is a text, but also the name of a file: give Path({texts!r}) to read the file")
        return [texts]
    if not isinstance(texts, Iterable):
        raise ValueError(f"texts {texts!r:.60} ({type(texts).__name__}): give strings, conversations, or a Path")
    if hasattr(texts, "columns"):
        raise ValueError(f"texts are a {type(texts).__name__}: give the column that holds them, as table['text']")
    if isinstance(texts, Mapping):
        return [texts]
    items = iter(texts)
    begin = list(islice(items, 1))
    if not begin:
        raise ValueError("no texts: give at least one")
    first, found = plain(begin[0]), chain(begin, items)
    if isinstance(first, Mapping) and (field := next((name for name in FIELDS if name in first), None)):
        return (record[field] for record in found)
    return [list(found)] if isinstance(first, int) or is_single([first]) else found


def _in_order(models: ModelSet, reads: list[ReadBatch], left_out: dict[str, int]) -> Harvest:
    """Return what was read in batches of similar length, in the order of the texts."""
    columns = [_columns(read) for read in reads]
    documents, positions, ids = (torch.cat(column) for column in zip(*columns, strict=True))
    order = (documents * (int(positions.max()) + 1 if len(positions) else 1) + positions).argsort()
    activations = torch.cat([read.activations for read in reads])
    return Harvest(
        activations=activations[order.to(activations.device)],
        ids=ids[order],
        documents=documents[order],
        positions=positions[order],
        streams=stream_names(models.names, models.layers),
        models=models.names,
        origins=models.origins,
        layers=models.layers,
        left_out=left_out,
    )


def _columns(read: ReadBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the document, position and id of each token that counts."""
    documents = read.batch.documents[:, None].expand_as(read.selected)
    positions = torch.arange(read.selected.shape[1]).expand_as(read.selected)
    return documents[read.selected], positions[read.selected], read.batch.input_ids[read.selected]
