"""Reads the inputs of all layers once, at the places of all labels alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.experiments.harmonic_probes.labels import LabelledPlaces
from toolkit.experiments.harmonic_probes.sampling import Sample, Split
from toolkit.harvest.tokens import TokenMask
from toolkit.models.model_set import ModelSet
from toolkit.models.places.place import Rows
from toolkit.models.text.rows import by_length, padded
from toolkit.tracking import track

BATCH_TOKENS = 8192


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenStreams:
    """What was read at one label's places, in the models' own type and raw units, on the CPU."""

    places: LabelledPlaces
    layers: tuple[int, ...]
    streams: Mapping[str, Float[Tensor, "token layer d_model"]]
    """By model."""
    tests: Bool[Tensor, " token"]
    """Tokens of the documents that test."""
    fits: tuple[Bool[Tensor, " token"], ...]
    """Of each draw the tokens of the documents that fit; no two draws share a document."""

    def at(self, model: str, layer: int) -> Float[Tensor, "token d_model"]:
        """The input of a layer of a model, in single precision."""
        return self.streams[model][:, self.layers.index(layer)].float()


@torch.no_grad()
def read_streams(
    models: ModelSet,
    rows: Sequence[Sequence[int]],
    samples: Mapping[str, Sample],
    split: Split,
    *,
    layers: Sequence[int],
    mask: TokenMask,
) -> dict[str, FrozenStreams]:
    """Read each document once in each model; places whose norm the mask calls an outlier at any layer are left out."""
    wanted = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.bool)
    for sample in samples.values():
        wanted[sample.places.document, sample.places.position] = True
    read, kept = _read(replace(models, layers=tuple(layers)), rows, wanted, mask)
    number = torch.full(wanted.shape, -1).masked_scatter(wanted, (kept.cumsum(0) - 1).masked_fill(~kept, -1))
    found = {}
    for name, sample in samples.items():
        at = number[sample.places.document, sample.places.position]
        places, streams = sample.places.at(at >= 0), read[at[at >= 0]]
        by_model = streams.unflatten(1, (len(models.names), len(layers))).unbind(dim=1)
        found[name] = FrozenStreams(
            places=places,
            layers=tuple(layers),
            streams=dict(zip(models.names, by_model, strict=True)),
            tests=split.tests(places),
            fits=split.fits(places),
        )
    return found


def _read(
    models: ModelSet, rows: Sequence[Sequence[int]], wanted: Bool[Tensor, "document position"], mask: TokenMask
) -> tuple[Float[Tensor, "kept stream d_model"], Bool[Tensor, " wanted"]]:
    """What is read at the wanted places, document after document, and which of them the mask keeps."""
    read_rows = [row for row in range(len(rows)) if wanted[row].any()]
    batches = [
        [read_rows[i] for i in batch] for batch in by_length([len(rows[row]) for row in read_rows], BATCH_TOKENS)
    ]

    def asked() -> Iterator[tuple[list[int], Rows]]:
        for batch in batches:
            ids, attention = padded([rows[row] for row in batch])
            yield batch, (ids, attention, wanted[batch, : ids.shape[1]])

    by_row: dict[int, tuple[Tensor, Tensor]] = {}
    each = track(models.selected_each(asked()), "reading labelled text", "batches", total=len(batches))
    for batch, streams in each:
        kept, sizes = mask.norms(streams), wanted[batch].sum(dim=1).tolist()
        parts = zip(streams.cpu().split(sizes), kept.split(sizes), strict=True)
        by_row |= {row: (of_row[keep], keep) for row, (of_row, keep) in zip(batch, parts, strict=True)}
    read, masks = zip(*(by_row[row] for row in read_rows), strict=True)
    return torch.cat(read), torch.cat(masks)
