"""Second moments of two models' streams, gathered in one pass over text: all that a closed-form map needs to know."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.models.model.memory_fit import RowLimit
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.place import Rows
from toolkit.models.text.rows import first_tokens

FOLDS, CHOOSING = 4, 3
"""Of every four documents, one chooses how strongly a fit is penalised; the other three fit."""
Cut = tuple[int, int]
"""A layer of the front and one of the rest: a map leads from the input of the one to the input of the other."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamMoments:
    """Means and spread of one model's stream at one layer, in float64; the first tokens of texts are apart."""

    n: int
    """Tokens, without those that stand first in a text."""
    mean: Float[Tensor, " d_model"]
    first_mean: Float[Tensor, " d_model"]
    """The mean over first tokens."""
    products: Float[Tensor, "d_model d_model"]
    """Σ (x − mean)(x − mean)ᵀ over the other tokens."""

    @cached_property
    def eigen(self) -> tuple[Float[Tensor, " d_model"], Float[Tensor, "d_model d_model"]]:
        """Eigenvalues of `products`, in rising order, and its eigenvectors as columns; computed once."""
        values, vectors = torch.linalg.eigh(self.products)
        return values.clamp(min=0), vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """What a map from the front's stream to the rest's stream is fitted on, or judged by."""

    front: StreamMoments
    rest: StreamMoments
    cross: Float[Tensor, "d_front d_rest"]
    """Σ (x − mean)(y − mean)ᵀ over the tokens, x of the front, y of the rest."""

    @property
    def n(self) -> int:
        """Tokens, without those that stand first in a text."""
        return self.front.n

    def reversed(self) -> "Moments":
        """The same tokens for a map from the rest's stream to the front's."""
        return Moments(front=self.rest, rest=self.front, cross=self.cross.T)

    def front_to_itself(self) -> "Moments":
        """The same tokens for a map of the front's stream to itself."""
        return Moments(front=self.front, rest=self.front, cross=self.front.products)


@dataclass(frozen=True, kw_only=True, eq=False)
class CutMoments:
    """The moments of one cut: of the documents that fit, and of the documents that choose how a fit is penalised."""

    fit: Moments
    chosen_by: Moments

    def reversed(self) -> "CutMoments":
        """The same documents for a map from the rest's stream to the front's."""
        return CutMoments(fit=self.fit.reversed(), chosen_by=self.chosen_by.reversed())

    def front_to_itself(self) -> "CutMoments":
        """The same documents for a map of the front's stream to itself."""
        return CutMoments(fit=self.fit.front_to_itself(), chosen_by=self.chosen_by.front_to_itself())


@torch.no_grad()
def read_moments(
    front: TracedModel, rest: TracedModel, batches: Iterable[TokenBatch], mask: TokenMask, cuts: Sequence[Cut]
) -> dict[Cut, CutMoments]:
    """Read both models on the batches once, and return the moments of each cut.

    The models may differ in depth and width. One reading serves both directions and each model by itself: see
    `CutMoments.reversed` and `front_to_itself`. Of every four documents (rows) the last chooses penalties, and the
    others fit. `mask` says which tokens count; first tokens never count with the others, and a token whose norm is an
    outlier in one of the streams counts in none.

    Products are of float32 numbers less a first estimate of their mean, so that a large common offset costs no
    accuracy; they are summed in float64, where the streams are. Memory: 16 bytes for each entry of a cut's three
    matrices, and the streams of one batch.
    Raises `ValueError` for text without a token that counts, for streams that are not finite, and as
    `TracedModel.selected` does.
    """
    layers = [sorted({cut[side] for cut in cuts}) for side in (0, 1)]
    folds: list[_FoldSums] = []
    for read in _read((front, rest), layers, batches, mask):
        if not folds and not read.counts.any():
            continue
        if not folds:
            estimates = [each[read.counts.to(each.device)].float().mean(dim=0) for each in read.streams]
            folds = [_FoldSums(estimates, layers, cuts) for _ in range(2)]
        for fold, chooses in zip(folds, (False, True), strict=True):
            fold.add(read, read.chooses == chooses)
    if not folds:
        raise ValueError("the text has no token that counts, to fit maps on: give documents of two tokens or more")
    fit, chosen_by = (fold.moments() for fold in folds)
    return {cut: CutMoments(fit=fit[cut], chosen_by=chosen_by[cut]) for cut in cuts}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """The streams of both models at some tokens."""

    streams: Sequence[Float[Tensor, "token _layer _d_model"]]
    """Those of the front, and those of the rest."""
    first: Bool[Tensor, " token"]
    counts: Bool[Tensor, " token"]
    """Tokens that count; no first token does."""
    chooses: Bool[Tensor, " token"]
    """Tokens of documents that choose."""


def _read(
    models: Sequence[TracedModel], layers: Sequence[Sequence[int]], batches: Iterable[TokenBatch], mask: TokenMask
) -> Iterator[_Read]:
    def asked() -> Iterator[tuple[tuple[Tensor, Tensor], Rows]]:
        for batch in batches:
            first = first_tokens(batch.attention_mask)
            place = mask.tokens(batch) | first
            yield (first, place), (batch.input_ids, batch.attention_mask, place)

    limit, documents = RowLimit(), 0
    sites: dict[TracedModel, list[int]] = {}
    for model, of_model in zip(models, layers, strict=True):
        sites.setdefault(model, []).extend(of_model)  # a model before itself is read once
    readers = {model.place: partial(_streams, model, sites[model], limit, models[-1].device) for model in sites}
    for (first, place), read in models[0].place.read_each(readers, asked()):
        streams = read if len(read) > 1 else read[0].split([len(each) for each in layers], dim=1)
        others = ~first[place]
        norms = [torch.linalg.vector_norm(each, dim=2, dtype=torch.float32).cpu()[others] for each in streams]
        # The norm of a norm is itself: so streams of two widths are judged together.
        counts = others.masked_scatter(others, mask.norms(torch.cat(norms, dim=1)[:, :, None]))
        chooses = (documents + place.nonzero()[:, 0]) % FOLDS == CHOOSING
        documents += len(place)
        yield _Read(streams=streams, first=~others, counts=counts, chooses=chooses)


def _streams(model: TracedModel, sites: Sequence[int], limit: RowLimit, device: torch.device, rows: Rows) -> Tensor:
    passes = limit.run(lambda ids, mask, positions: model.selected(ids, mask, positions, sites), *rows)
    return (passes[0] if len(passes) == 1 else torch.cat(passes)).to(device)


class _FoldSums:
    """Sums over the tokens of some documents, from which their moments follow."""

    def __init__(
        self,
        estimates: Sequence[Float[Tensor, "_layer _d_model"]],
        layers: Sequence[Sequence[int]],
        cuts: Sequence[Cut],
    ) -> None:
        """`estimates` of the means of each model's streams are taken off before products are formed."""
        self._estimates, self._layers, self._cuts = estimates, layers, cuts
        self._n = self._n_first = 0
        zeros = partial(torch.zeros, dtype=torch.float64, device=estimates[0].device)
        self._shifted, self._first = ([zeros(each.shape) for each in estimates] for _ in range(2))
        self._products = [zeros(*each.shape, each.shape[1]) for each in estimates]
        self._cross = zeros(len(cuts), *(each.shape[1] for each in estimates))

    def add(self, read: _Read, documents: Bool[Tensor, " token"]) -> None:
        """Add the tokens of these documents."""
        first, counts = read.first & documents, read.counts & documents
        self._n += int(counts.sum())
        self._n_first += int(first.sum())
        shifted = []
        for model, streams in enumerate(read.streams):
            self._first[model] += streams[first.to(streams.device)].sum(dim=0, dtype=torch.float64)
            # A copy of one fold at a time, changed in place: the streams take most of the memory.
            x = streams[counts.to(streams.device)].float().sub_(self._estimates[model])
            self._shifted[model] += x.sum(dim=0)
            for layer, products in enumerate(self._products[model]):
                products += x[:, layer].T @ x[:, layer]
            shifted.append(x)
        for cut, cross in zip(self._cuts, self._cross, strict=True):
            at_front, at_rest = self._places(cut)
            cross += shifted[0][:, at_front].T @ shifted[1][:, at_rest]

    def moments(self) -> dict[Cut, Moments]:
        """The moments of each cut, for all tokens so far."""
        for name, layers, sums in zip(("front", "rest"), self._layers, self._shifted, strict=True):
            if bad := [layer for layer, of_layer in zip(layers, sums, strict=True) if not of_layer.isfinite().all()]:
                raise ValueError(
                    f"the stream of the {name} at layer {bad[0]} has values that are not finite: load the model in a"
                    " wider type, such as --dtype float32"
                )
        n = max(1, self._n)
        left = [each / n for each in self._shifted]
        streams = [
            [
                StreamMoments(
                    n=self._n,
                    mean=self._estimates[model][layer] + shift,
                    first_mean=self._first[model][layer] / max(1, self._n_first),
                    products=self._products[model][layer] - n * torch.outer(shift, shift),
                )
                for layer, shift in enumerate(left[model])
            ]
            for model in (0, 1)
        ]
        found = {}
        for cut, cross in zip(self._cuts, self._cross, strict=True):
            x, y = self._places(cut)
            centred = cross - n * torch.outer(left[0][x], left[1][y])
            found[cut] = Moments(front=streams[0][x], rest=streams[1][y], cross=centred)
        return found

    def _places(self, cut: Cut) -> tuple[int, int]:
        """Where the layers of a cut stand among those that are read."""
        return self._layers[0].index(cut[0]), self._layers[1].index(cut[1])
