"""Finds the latent that best marks each labelled behaviour, in the organism's answers or in annotated files."""

from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.selectivity import RankedCodes, auroc_interval
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.latents.coded_batches import coded_batches
from toolkit.latents.span_labels import LabelledDocument, LabelledDocuments, LabelledSpan, token_labels
from toolkit.models.model_set import ModelSet
from toolkit.models.text.rows import padded
from toolkit.organism.corpus import documents
from toolkit.organism.documents import BEHAVIOURS
from toolkit.tracking import track

BATCH_TOKENS = 8192


@dataclass(frozen=True, kw_only=True)
class BehaviourLatent:
    """The latent that best tells a behaviour's tokens from the rest, chosen on one half of the documents, tested on
    the other.

    `low` and `high` bound the AUROC's 95 % bootstrap interval over documents. `control_auroc` is the AUROC that the
    same choice reaches with wrong labels: each document has those of the document before it.
    """

    behaviour: str
    latent: int
    auroc: float
    low: float
    high: float
    control_auroc: float
    firing_rate: float
    n_tokens: int


@dataclass(frozen=True, kw_only=True)
class LabelledCodes:
    """Sparse latent activations of labelled documents, each token's label (-1 for none) and its document."""

    names: tuple[str, ...]
    codes: Float[Tensor, "token latent"]
    label: Int[Tensor, " token"]
    shifted: Int[Tensor, " token"]
    document: Int[Tensor, " token"]


def planted_behaviours(n_documents: int) -> LabelledDocuments:
    """Return the organism's held-out thinking answers, with labels of the behaviours that were written into them."""
    found = tuple(
        LabelledDocument(document.text, tuple(LabelledSpan(s.start, s.end, s.behaviour) for s in document.spans))
        for document in islice(documents("thinking", split="held_out", seed=23), n_documents)
    )
    return LabelledDocuments(documents=found, labels=BEHAVIOURS)


def labelled_codes(
    models: ModelSet, crosscoder: Crosscoder, mask: TokenMask, labelled: LabelledDocuments, row_length: int
) -> LabelledCodes:
    """Read labelled documents, cut to `row_length` tokens, and encode them."""
    ids, labels = _tokens(models, labelled, row_length)
    n_rows = max(1, BATCH_TOKENS // row_length)
    chunks = [range(first, min(first + n_rows, len(ids))) for first in range(0, len(ids), n_rows)]
    batches = (TokenBatch(*padded([ids[row] for row in rows])) for rows in chunks)
    parts: list[tuple[Tensor, ...]] = []
    counted = track(
        coded_batches(models, crosscoder, batches, mask), "reading labelled text", "batches", total=len(chunks)
    )
    for coded, rows in zip(counted, chunks, strict=True):
        here, width = coded.selected, coded.selected.shape[1]
        own, _ = padded([labels[row] for row in rows], -1)
        before, _ = padded([labels[row - 1][:width] + [-1] * width for row in rows], -1)
        number = torch.tensor(rows)[:, None].expand_as(own)
        parts.append((coded.codes.to_sparse().cpu(), own[here], before[:, :width][here], number[here]))
    codes, label, shifted, document = (torch.cat(part) for part in zip(*parts, strict=True))
    return LabelledCodes(names=labelled.labels, codes=codes, label=label, shifted=shifted, document=document)


def _tokens(models: ModelSet, labelled: LabelledDocuments, row_length: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return each document's ids, and the number of each id's label, -1 for none."""
    encoding = models.tokenizer(
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


def behaviour_latents(data: LabelledCodes, generator: torch.Generator) -> list[BehaviourLatent]:
    """Return the best latent of each behaviour that has tokens in both halves of the documents.

    Raises `ValueError` where no behaviour has.
    """
    even = data.document % 2 == 0
    halves = [set(data.label[half].tolist()) for half in (even, ~even)]
    measurable = [index for index in range(len(data.names)) if all(index in half for half in halves)]
    if not measurable:
        raise ValueError(
            f"none of the labels {', '.join(data.names)} has tokens both in even and in odd documents, one half to"
            " choose a latent and one to test it: give more labelled documents"
        )
    ranked = RankedCodes.of(data.codes.index_select(0, even.nonzero().squeeze(1)))
    counted = track(measurable, "finding labels", "labels")
    return [_best_latent(data, index, ranked, generator) for index in counted]


def _best_latent(data: LabelledCodes, index: int, ranked: RankedCodes, generator: torch.Generator) -> BehaviourLatent:
    """Return the best latent of one behaviour; `ranked` are the codes of the even documents."""
    labels, shifted, odd = data.label == index, data.shifted == index, data.document % 2 == 1
    latent, control = (int(ranked.auroc(wanted[~odd]).argmax()) for wanted in (labels, shifted))
    codes, control_codes = (data.codes.index_select(1, torch.tensor([k])).to_dense() for k in (latent, control))
    auroc, low, high = auroc_interval(codes[odd, 0], labels[odd], data.document[odd] // 2, generator=generator)
    return BehaviourLatent(
        behaviour=data.names[index],
        latent=latent,
        auroc=auroc,
        low=low,
        high=high,
        control_auroc=float(RankedCodes.of(control_codes[odd]).auroc(shifted[odd])),
        firing_rate=float((codes > 0).float().mean()),
        n_tokens=int(labels[odd].sum()),
    )
