"""A set of named models of one shape, whose residual streams are read as one tensor."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from typing import Any, Literal, SupportsIndex, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.arguments import Indices, as_index
from toolkit.models.compatibility import check_same_shape, check_sites, find_clashes, warn_of_same_weights
from toolkit.models.model.edits import Change
from toolkit.models.model.layers import check_layers
from toolkit.models.model.memory_fit import RowLimit
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.opened_models import OpenedModels, check_places, open_each
from toolkit.models.places.place import Context, Rows
from toolkit.models.sources import Model, Source, find_sources, refuse_unknown, tokenizers_of
from toolkit.models.text.inputs import Ids, Text, as_batch, as_mask, as_rows, check_context, check_range
from toolkit.models.text.rows import padded
from toolkit.models.text.tokenizers import Clashes, check_embedded, check_meaning
from toolkit.models.where import Where, as_where

Found = TypeVar("Found", bound="ModelSet")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ModelSet(OpenedModels):
    """Models of one shape that read the same ids.

    A *stream* is the residual stream of one model at one layer; they are ordered by model, then by layer.
    """

    tokenizer: PreTrainedTokenizerBase
    """The last model's tokenizer, used for all."""
    layers: tuple[int, ...]
    """Sites: the input of these decoder layers."""
    clashing_ids: Clashes
    """Ids that mean different things to the models."""
    clashes: Literal["refuse", "allow"] = "refuse"
    """Whether a clashing id in the text is an error, or is read by each model in its own way."""
    row_limit: RowLimit = field(default_factory=RowLimit)
    """The size of a forward pass that memory allows, learnt from out-of-memory errors."""

    @classmethod
    def from_pretrained(
        cls: type[Found],
        models: Mapping[str, Model],
        *,
        layers: Indices | None = None,
        where: Where | Any = "auto",
        tokenizer: PreTrainedTokenizerBase | None = None,
        clashes: Literal["refuse", "allow"] = "refuse",
        **unknown: Any,
    ) -> Found:
        """Load models by name: each a local folder, a hub name, a `Checkpoint`, or a model that is loaded.

        `layers` defaults to the middle of the model. `where` is a `Where`, a device such as "cuda:1", a device for each
        model by its name, or "ndif". Models that are loaded already stay where and as they are. `tokenizer` stands for
        the models' own. Warns of ids that mean different things to the models.
        Raises `ValueError`, before any weights are loaded, for a model that cannot be found or read, models that differ
        in width, depth or vocabulary, a layer or a device that is not there, settings that the models as they are
        opened do not use, and for a key, a host or a model that NDIF does not take.
        """
        refuse_unknown(unknown)
        return cls.open(find_sources(models), layers=layers, where=where, tokenizer=tokenizer, clashes=clashes)

    @classmethod
    def open(
        cls: type[Found],
        sources: Sequence[Source],
        *,
        layers: Indices | None = None,
        where: Where | Any = "auto",
        tokenizer: PreTrainedTokenizerBase | None = None,
        clashes: Literal["refuse", "allow"] = "refuse",
        depth: SupportsIndex | None = None,
    ) -> Found:
        """Load the models that `find_sources` found.

        With `depth` only the embedding and the layers before that site are read and kept: enough to read sites up to
        it, and nothing else. On NDIF it means nothing. Raises `ValueError` as `from_pretrained` does.
        """
        where = as_where(where)
        check_places(sources, where)
        configs = {source.role: source.config() for source in sources}
        n_layers = check_same_shape(configs)
        sites = check_sites(n_layers // 2 if layers is None else layers, depth, n_layers)
        depth = None if depth is None else as_index(depth, "depth")
        tokenizers = tokenizers_of(sources, tokenizer)
        clashing_ids = find_clashes(configs, tokenizers)
        *_, shared = tokenizers.values()
        models = open_each(sources, dict.fromkeys(tokenizers, shared), where, depth=depth)
        if not where.remote:
            warn_of_same_weights([source for source in sources if source.module is None])
        return cls(
            models=models,
            tokenizer=shared,
            layers=sites,
            clashing_ids=clashing_ids,
            found=tuple(sources),
            clashes=clashes,
        )

    def __repr__(self) -> str:
        models = ", ".join(f"{name} {source}" for name, source in zip(self.names, self.origins, strict=True))
        place = next(iter(self.models.values())).place
        return (
            f"{type(self).__name__} {models}, {place!r}:\n  layers {', '.join(map(str, self.layers))} of"
            f" {self.n_layers}, d_model {self.d_model}, {self.vocab_size:,} ids, context {self.context:,}"
        )

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return next(iter(self.models.values())).d_model

    @property
    def n_layers(self) -> int:
        """Decoder layers of each model."""
        return next(iter(self.models.values())).n_layers

    @property
    def vocab_size(self) -> int:
        """Logits that all models have: compare the first `vocab_size` only."""
        return min(model.vocab_size for model in self.models.values())

    @property
    def device(self) -> torch.device:
        """The device that reads come back on: the last model's."""
        *_, last = self.models.values()
        return last.device

    def residual(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        layers: Indices | None = None,
        *,
        edit: Change | None = None,
    ) -> Float[Tensor, "row position stream d_model"]:
        """Read the residual streams of all models at `layers` (default: the set's), one pass a model.

        Each pass stops at the last site. Values at padded positions mean nothing. `edit` is applied in every model.
        `input_ids` may also be texts, or what a tokenizer returned; without a mask, ids that only pad are padding.
        Raises `ValueError` for a layer out of range, for ids that the models do not share, and for more tokens than
        their context.
        """
        ids, mask = self._checked(input_ids, attention_mask)
        layers = self.layers if layers is None else layers
        streams = [site for model in self.models.values() for site in self._sites(model, ids, mask, layers, edit)]
        return torch.stack(streams, dim=2)

    def selected(
        self, input_ids: Ids, attention_mask: Ids | None, positions: Bool[Tensor, "row position"] | Ids
    ) -> Float[Tensor, "token stream d_model"]:
        """Read the residual streams of all models where `positions` is true, row after row; raises as `residual`."""
        ids, mask = self._checked(input_ids, attention_mask)
        ((_, read),) = self.selected_each([(None, (ids, mask, as_mask(positions, ids, "positions").bool()))])
        return read

    def selected_each(
        self, batches: Iterable[tuple[Context, Rows]], stop: Event | None = None
    ) -> Iterator[tuple[Context, Float[Tensor, "token stream d_model"]]]:
        """Read batch after batch as `selected` does, in order, taking batches from the iterator as they are needed.

        Each comes with its context. On NDIF the batches that follow are on their way already, `Where.jobs` jobs at
        once, and `stop` ends the waiting for them with `CancelledError`. Of models loaded with `sequential` they are
        needed in blocks of at least `BLOCK_TOKENS` tokens: one model reads a block, then the next does; what was read
        before is held in the models' own type.
        """
        readers = {model.place: self._reader(model) for model in self.models.values()}
        first = next(iter(readers))
        for context, streams in first.read_each(readers, self._each_checked(batches), stop):
            yield context, torch.cat(streams, dim=1)

    def free(self) -> None:
        """Free the memory of all weights: the set still says what it is, but cannot be read any more."""
        for model in self.models.values():
            model.place.free()

    def reopened(self: Found, where: Where) -> Found:
        """Free the weights, and load all of the same models in their place; the tokenizer is not read again.

        How large a forward pass may be is learnt anew: the memory may be free of what filled it before.
        Raises `ValueError` as `from_pretrained` does.
        """
        self.free()
        models = open_each(self.found, dict.fromkeys(self.names, self.tokenizer), where)
        return replace(self, models=models, row_limit=RowLimit())

    def generate(self, prompt: Text, **how: Any) -> dict[str, Any]:
        """What each model writes, by its name; `how` is as in `TracedModel.generate`."""
        return {name: model.generate(prompt, **how) for name, model in self.models.items()}

    def read(
        self,
        text: Text,
        layers: Indices | None = None,
        *,
        attention_mask: Ids | None = None,
        edit: Change | None = None,
    ) -> Float[Tensor, "token stream d_model"]:
        """Read the residual streams of all models on one text or several, one after the other.

        A text is a string, chat messages, ids, or what a tokenizer returned. Tokens stand in the order of the texts,
        without padding, all texts in one batch. The tokenizer adds its BOS or not, as it does by itself; a text that
        begins with the BOS gets no second one. `edit` is applied in every model.
        Raises `ValueError` for a text without tokens, and as `residual` does.
        """
        input_ids, mask = padded(as_rows(self.tokenizer, text, attention_mask))
        if edit is not None:
            return self.residual(input_ids, mask, layers, edit=edit)[mask.bool()]
        chosen = self if layers is None else replace(self, layers=check_layers(layers, self.n_layers))
        return chosen.selected(input_ids, mask, mask.bool())

    def check_ids(
        self, input_ids: Int[Tensor, "row position"], attention_mask: Int[Tensor, "row past_and_position"]
    ) -> None:
        """Raise `ValueError` for an id without an embedding, one whose meaning clashes, by name, and too long a row.

        A BOS at the start of a row may clash: it is the attention sink of all models, whatever its name. The mask may
        cover tokens before these ids.
        """
        check_embedded(input_ids, self.vocab_size, self.clashing_ids, self.names)
        check_range(input_ids, self.vocab_size, "all models have")
        check_context(int(attention_mask.sum(dim=1).max()), self.context)
        if self.clashes == "refuse":
            check_meaning(input_ids, attention_mask, self.clashing_ids, self.names, self.tokenizer.bos_token_id)

    def _checked(self, input_ids: Ids, attention_mask: Ids | None) -> tuple[Tensor, Tensor]:
        ids, mask = as_batch(self.tokenizer, input_ids, attention_mask)
        self.check_ids(ids, mask)
        return ids, mask

    def _each_checked(self, batches: Iterable[tuple[Context, Rows]]) -> Iterator[tuple[Context, Rows]]:
        for context, (input_ids, attention_mask, positions) in batches:
            self.check_ids(input_ids, attention_mask)
            yield context, (input_ids, attention_mask, positions)

    def _sites(
        self, model: TracedModel, input_ids: Tensor, mask: Tensor, layers: Indices, edit: Change | None
    ) -> list[Tensor]:
        read = partial(model.residual, layers=layers, edit=edit)
        passes = self.row_limit.run(read, input_ids, mask) if edit is None else [read(input_ids, mask)]
        return [_joined(site).to(self.device) for site in zip(*passes, strict=True)]

    def _reader(self, model: TracedModel) -> Any:
        def read(rows: Rows) -> Tensor:
            passes = self.row_limit.run(lambda ids, mask, at: model.selected(ids, mask, at, self.layers), *rows)
            return _joined(passes).to(self.device)

        return read


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """One tensor of several rows' results; without a copy where memory sufficed for one pass."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
