"""A base model and the model distilled from it, read as one tensor."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from typing import Any, Literal, SupportsIndex

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.arguments import Indices, as_index
from toolkit.models.compatibility import check_same_shape, check_sites, find_clashes, warn_of_same_weights
from toolkit.models.model.layers import check_layers
from toolkit.models.model.memory_fit import FittingRows
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.here import loading_options
from toolkit.models.places.ndif.in_flight import in_background, in_flight
from toolkit.models.places.one_at_a_time import BLOCK_TOKENS, Context, Rows, Seat, SeatedModel, blocks, let_go
from toolkit.models.places.open_model import open_model
from toolkit.models.presets import CHECKOUT, find_pair
from toolkit.models.sources import Model, Source, find_sources, refuse_unknown, tokenizers_of
from toolkit.models.text.inputs import Ids, Text, as_batch, as_mask, as_rows, check_context, check_range
from toolkit.models.text.rows import padded
from toolkit.models.text.tokenizers import Clashes, check_embedded, check_meaning
from toolkit.models.where import Where, as_where
from toolkit.tracking import track


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelPair:
    """Two models of one shape that read the same ids.

    A *stream* is the residual stream of one model at one layer. Streams are ordered by model, then by
    layer; with one layer there is one stream a model, so that `stream` reads as `model`.
    """

    base: TracedModel
    """The model before distillation."""
    distilled: TracedModel
    """The model after it."""
    tokenizer: PreTrainedTokenizerBase
    """The distilled model's tokenizer, used for both."""
    layers: tuple[int, ...]
    """Sites: the input of these decoder layers."""
    clashing_ids: Clashes
    """Ids that mean one thing to the base model and another to the distilled model."""
    found: tuple[Source, Source]
    """Where each model came from."""
    clashes: Literal["refuse", "allow"] = "refuse"
    """Whether a clashing id in the text is an error, or is read by each model in its own way."""
    fitting: FittingRows = field(default_factory=FittingRows)
    """What running out of memory has taught about the size of a forward pass."""

    @classmethod
    def from_pretrained(
        cls,
        preset: str | None = None,
        *,
        base: Model = None,
        distilled: Model = None,
        layers: Indices | None = None,
        where: Where | Any = "auto",
        tokenizer: PreTrainedTokenizerBase | None = None,
        clashes: Literal["refuse", "allow"] = "refuse",
        **unknown: Any,
    ) -> "ModelPair":
        """Load a pair by the name of a preset, or by a local folder or hub name for each model; or take loaded models.

        `Checkpoint` says more of a model than its name: its revision, an access token. `layers` defaults to the
        preset's, else to the middle of the model. `where` is a `Where`, a device such as "cuda:1", a device for each
        model by its name, or "ndif". Models that are loaded already stay where and as they are. `tokenizer` stands for
        both models' own. Warns of ids that mean different things to the two models.
        Raises `ValueError`, before any weights are loaded, for an unknown preset, a model that cannot be found or read,
        models that differ in width, depth or vocabulary, a layer or a device that is not there, settings that the
        models as they are opened do not use, and for a key, a host or a model that NDIF does not take.
        """
        refuse_unknown(unknown)
        models, usual = {"base": base, "distilled": distilled}, None
        if preset is not None or base is None or distilled is None:
            chosen = find_pair(preset, base, distilled)
            models, usual = {"base": chosen.base, "distilled": chosen.distilled}, chosen.layers
        sites = usual if layers is None else layers
        return cls.open(find_sources(models), layers=sites, where=where, tokenizer=tokenizer, clashes=clashes)

    @classmethod
    def open(
        cls,
        sources: Sequence[Source],
        *,
        layers: Indices | None = None,
        where: Where | Any = "auto",
        tokenizer: PreTrainedTokenizerBase | None = None,
        clashes: Literal["refuse", "allow"] = "refuse",
        depth: SupportsIndex | None = None,
    ) -> "ModelPair":
        """Load the models that `from_pretrained` finds.

        With `depth` only the embedding and the layers before that site are read and kept: enough to read sites up to
        it, and nothing else. On NDIF it means nothing. Raises `ValueError` as `from_pretrained` does.
        """
        where = as_where(where)
        where.check_used(models=len(sources), in_memory=sum(source.module is not None for source in sources))
        places = {source.role: where.of(source.role) for source in sources}
        for place in places.values():
            loading_options(place)  # says what is not there
        configs = [source.config() for source in sources]
        n_layers = check_same_shape(*configs)
        sites = check_sites(n_layers // 2 if layers is None else layers, depth, n_layers)
        depth = None if depth is None else as_index(depth, "depth")
        tokenizers = tokenizers_of(sources, tokenizer)
        clashing_ids = find_clashes(configs, tokenizers)
        shared = {"tokenizer": tokenizers[1], "depth": depth, "seat": Seat() if where.sequential else None}
        distilled_model, base_model = (  # the base model last: where one stays in memory, it is the first to be read
            open_model(source.module or source.name, where=places[source.role], hub=source.hub, **shared)
            for source in reversed(sources)
        )
        if not where.remote and not any(source.module for source in sources):
            warn_of_same_weights(sources[0].name, sources[1].name, [source.hub for source in sources])
        return cls(
            base=base_model,
            distilled=distilled_model,
            tokenizer=tokenizers[1],
            layers=sites,
            clashing_ids=clashing_ids,
            found=(sources[0], sources[1]),
            clashes=clashes,
        )

    def fingerprints(self) -> dict[str, str]:
        """A word for each model, by role, that changes with its weights and settings and with nothing else.

        See `files.identity`. For models on NDIF, whose files are not here, it is the commit, or the sha256 of
        a local folder's config.
        """
        remote = self.base.connection is not None
        return {source.role: source.fingerprint(remote=remote) for source in self.found}

    def files(self) -> dict[str, str]:
        """Sha256 of every file that weights were read from, the commit of a model from the hub."""
        base, distilled = (source.files(remote=self.base.connection is not None) for source in self.found)
        return base | distilled

    @property
    def sources(self) -> tuple[str, str]:
        """Where each model came from: a local folder or a hub name."""
        return self.found[0].name, self.found[1].name

    @property
    def origins(self) -> tuple[str, str]:
        """The sources as artifacts record them: the embedded models by their place in the checkout."""
        base, distilled = (source.removeprefix(f"{CHECKOUT}/") for source in self.sources)
        return base, distilled

    @property
    def names(self) -> tuple[str, str]:
        """The models' roles, in the order of the streams."""
        return ("base", "distilled")

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.base.d_model

    @property
    def n_layers(self) -> int:
        """Decoder layers of either model."""
        return self.base.n_layers

    @property
    def vocab_size(self) -> int:
        """Logits that both models have: compare the first `vocab_size` only."""
        return min(self.base.vocab_size, self.distilled.vocab_size)

    @property
    def device(self) -> torch.device:
        """The device that reads come back on."""
        return self.distilled.device

    @property
    def context(self) -> int:
        """Tokens that both models can tell apart by their position."""
        return min(self.base.context, self.distilled.context)

    def residual(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        layers: Indices | None = None,
    ) -> Float[Tensor, "row position stream d_model"]:
        """Read the residual streams of both models at `layers` (default: the pair's), one pass a model.

        Each pass stops at the last site. Values at padded positions mean nothing.
        `input_ids` may also be what a tokenizer returned; without a mask, ids that only pad are padding.
        Raises `ValueError` for a layer out of range, for ids that the models do not share, and for more tokens than
        their context.
        """
        ids, mask = self._checked(input_ids, attention_mask)
        layers = self.layers if layers is None else layers
        models = (self.base, self.distilled)
        streams = [site for model in models for site in self._sites(model, ids, mask, layers)]
        return torch.stack(streams, dim=2)

    def selected(
        self, input_ids: Ids, attention_mask: Ids | None, positions: Bool[Tensor, "row position"] | Ids
    ) -> Float[Tensor, "token stream d_model"]:
        """Read the residual streams of both models where `positions` is true, row after row, one pass a model.

        Raises `ValueError` as `residual` does.
        """
        ids, mask = self._checked(input_ids, attention_mask)
        return self._both((ids, mask, as_mask(positions, ids, "positions").bool()))

    def selected_each(
        self, batches: Iterable[tuple[Context, Rows]], stop: Event | None = None
    ) -> Iterator[tuple[Context, Float[Tensor, "token stream d_model"]]]:
        """Read batch after batch as `selected` does, in order, taking batches from the iterator as they are needed.

        Each comes with its context, and what was read is given back with it.

        On NDIF the batches that follow are on their way already, `Where.jobs` jobs at once, and `stop` ends the
        waiting for them with `CancelledError`. Of a pair loaded with `sequential` they are needed in blocks of at least
        `BLOCK_TOKENS` tokens: one model reads a block, then the other does; what the first has read is held in the
        models' own type.
        """
        if self.base.connection is not None:
            at_once = max(1, self.base.connection.where.jobs // 2)
            yield from in_flight(lambda batch: (batch[0], self.selected(*batch[1])), batches, at_once, stop)
            return
        by_turns = isinstance(self.base, SeatedModel)
        for block in blocks(batches, BLOCK_TOKENS if by_turns else 0):
            for _, (input_ids, attention_mask, _) in block:
                self.check_ids(input_ids, attention_mask)
            first, second = (self.base, self.distilled)
            if isinstance(second, SeatedModel) and second.in_memory:  # as after the block before: saves a reading
                first, second = second, first
            reading = track(block, "batches with one model", "batches") if by_turns else block
            held = deque(self._chosen(first, rows) for _, rows in reading)
            for context, rows in block:
                parts = {first: held.popleft(), second: self._chosen(second, rows)}
                yield context, torch.cat([parts[self.base], parts[self.distilled]], dim=1)

    def let_go(self) -> None:
        """Free the memory of all weights: the pair still says what it is, but cannot be read any more."""
        for model in (self.base, self.distilled):
            let_go(model)

    def _checked(self, input_ids: Ids, attention_mask: Ids | None) -> tuple[Tensor, Tensor]:
        ids, mask = as_batch(self.tokenizer, input_ids, attention_mask)
        self.check_ids(ids, mask)
        return ids, mask

    def _sites(self, model: TracedModel, input_ids: Tensor, mask: Tensor, layers: Indices) -> list[Tensor]:
        passes = self.fitting.run(lambda ids, mask: model.residual(ids, mask, layers), input_ids, mask)
        return [_joined(site).to(self.device) for site in zip(*passes, strict=True)]

    def _both(self, rows: Rows) -> Tensor:
        if self.base.connection is None:
            return torch.cat([self._chosen(model, rows) for model in (self.base, self.distilled)], dim=1)
        first = in_background(partial(self._chosen, self.base, rows))
        second = self._chosen(self.distilled, rows)
        return torch.cat([first.result(), second], dim=1)

    def _chosen(self, model: TracedModel, rows: Rows) -> Tensor:
        passes = self.fitting.run(lambda ids, mask, chosen: model.selected(ids, mask, chosen, self.layers), *rows)
        return _joined(passes).to(self.device)

    def read(
        self, text: Text, layers: Indices | None = None, *, attention_mask: Ids | None = None
    ) -> Float[Tensor, "token stream d_model"]:
        """Read the residual streams of both models on one text or several, one after the other.

        A text is a string, chat messages, ids, or what a tokenizer returned. Tokens stand in the order of the texts,
        without padding, all texts in one batch. The tokenizer adds its BOS or not, as it does by itself; a text that
        begins with the BOS gets no second one.
        Raises `ValueError` for a text without tokens, and as `residual` does.
        """
        input_ids, mask = padded(as_rows(self.tokenizer, text, attention_mask))
        pair = self if layers is None else replace(self, layers=check_layers(layers, self.n_layers))
        return pair.selected(input_ids, mask, mask.bool())

    def check_ids(
        self, input_ids: Int[Tensor, "row position"], attention_mask: Int[Tensor, "row past_and_position"]
    ) -> None:
        """Raise `ValueError` for an id without an embedding, one whose meaning clashes, by name, and too long a row.

        A BOS at the start of a row may clash: it is the attention sink of both models, whatever its name. The mask may
        cover tokens before these ids.
        """
        check_embedded(input_ids, self.vocab_size, self.clashing_ids)
        check_range(input_ids, self.vocab_size, "both models have")
        check_context(int(attention_mask.sum(dim=1).max()), self.context)
        if self.clashes == "refuse":
            check_meaning(input_ids, attention_mask, self.clashing_ids, self.tokenizer.bos_token_id)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """One tensor of several rows' results; without a copy where memory sufficed for one pass."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
