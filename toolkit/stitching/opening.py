"""Models that are stitched to each other, whatever their depth, width and vocabulary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, permutations
from typing import Any

import torch
from datasets import IterableDataset
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.harvest.documents import TEXTS
from toolkit.harvest.tokens import CUT_OTHERWISE
from toolkit.models.compatibility import warn_of_same_weights
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.models.places.here import loading_options
from toolkit.models.places.one_at_a_time import Room
from toolkit.models.places.open_model import open_model
from toolkit.models.presets import in_checkout
from toolkit.models.sources import Model, Source, find_sources, tokenizers_of
from toolkit.models.text.tokenizers import Clashes, encode
from toolkit.models.text.vocabularies import NO_ID, translation
from toolkit.models.where import Where, as_where
from toolkit.stitching.translated import Translated

TEXTS_TRIED = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class StitchableModels:
    """Two models or more by name, each with the tokenizer of its own vocabulary.

    A model is read with the ids of another where both have the same tokens (`reading`). Texts that all tokenizers cut
    into the same tokens are compared, others are left out (`comparable`).
    """

    models: Mapping[str, TracedModel]
    tokenizers: Mapping[str, PreTrainedTokenizerBase]
    found: tuple[Source, ...]
    """Where each model came from."""
    clashing_ids: Clashes = field(default_factory=dict)
    """Ids of a common vocabulary that mean different things to the models, and are refused."""

    @classmethod
    def from_pretrained(cls, models: Mapping[str, Model], *, where: Where | Any = "auto") -> "StitchableModels":
        """Load models by name: each a local folder, a hub name, a `Checkpoint`, or a model that is loaded.

        Raises `ValueError` as `open` does, and for a model that cannot be found.
        """
        return cls.open(find_sources(models), where=where)

    @classmethod
    def open(cls, sources: Sequence[Source], *, where: Where | Any = "auto") -> "StitchableModels":
        """Load the models that `find_sources` found.

        Raises `ValueError` as `ModelSet.open` does, but not for models of other shapes or vocabularies.
        """
        where = as_where(where)
        where.check_used(models=len(sources), in_memory=sum(source.module is not None for source in sources))
        places = {source.role: where.of(source.role) for source in sources}
        for place in places.values():
            loading_options(place)  # says what is not there
        for source in sources:
            source.config()
        tokenizers = tokenizers_of(sources, None)
        room = Room() if where.sequential else None
        models = {
            each.role: open_model(
                each.module or each.name, tokenizers[each.role], places[each.role], hub=each.hub, room=room
            )
            for each in sources
        }
        if not where.remote:
            warn_of_same_weights([source for source in sources if source.module is None])
        return cls(models=models, tokenizers=tokenizers, found=tuple(sources))

    @classmethod
    def of(cls, models: ModelSet) -> "StitchableModels":
        """The models of a set, which share its tokenizer."""
        return cls(
            models=models.models,
            tokenizers=dict.fromkeys(models.names, models.tokenizer),
            found=models.found,
            clashing_ids=models.clashing_ids if models.clashes == "refuse" else {},
        )

    def __repr__(self) -> str:
        shapes = (f"{name} ({each.n_layers} layers, d_model {each.d_model})" for name, each in self.models.items())
        return f"StitchableModels {', '.join(shapes)}"

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names."""
        return tuple(self.models)

    @property
    def origins(self) -> tuple[str, ...]:
        """Where each model came from, as artifacts record it."""
        return tuple(in_checkout(source.name) for source in self.found)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The last model's tokenizer."""
        return self.tokenizers[self.names[-1]]

    @property
    def context(self) -> int:
        """Tokens that all models can tell apart by their position."""
        return min(model.context for model in self.models.values())

    def fingerprints(self) -> dict[str, str]:
        """A word for each model, by name, that changes with its weights and settings alone."""
        return {each.role: each.fingerprint(remote=not self.models[each.role].place.has_files) for each in self.found}

    def files(self) -> dict[str, str]:
        """Sha256 of every file that weights were read from, the commit of a model from the hub."""
        each = [source.files(remote=not self.models[source.role].place.has_files) for source in self.found]
        return {file: word for files in each for file, word in files.items()}

    def reading(self, name: str) -> dict[str, TracedModel]:
        """Return all models as readers of the ids of the one that is named; those of its vocabulary are themselves.

        Raises `ValueError` for vocabularies without a common token.
        """
        return {other: self._reader(other, name) for other in self.models}

    @cached_property
    def compared(self) -> str:
        """Which texts are compared, in words; empty where all texts are."""
        unlike = [name for name in self.names[:-1] if not self._has_ids_of(name, self.names[-1])]
        if not unlike or self.clashing_ids:
            return ""
        shared = int((self._tables[unlike[0], self.names[-1]] != NO_ID).sum())
        return (
            f"texts that the tokenizers of {' and '.join(self.names)} cut into the same tokens, of which they share"
            f" {shared:,}"
        )

    def comparable(self, documents: IterableDataset, row_length: int) -> IterableDataset:
        """Return the documents, those without their text whose first `row_length` tokens the tokenizers cut otherwise.

        Raises `ValueError` where no text of the first 256 is left.
        """
        if not self.compared:
            return documents

        def kept(record: Mapping[str, str]) -> dict[str, str]:
            text, left_out = record["text"], record.get("left_out") or ""
            alike = not text or self.cut_alike(text, row_length)
            return {"text": text if alike else "", "left_out": left_out if alike else CUT_OTHERWISE}

        found = documents.map(kept, features=TEXTS)
        tried = list(islice(found, TEXTS_TRIED))
        if not any(record["text"] for record in tried):
            raise ValueError(
                f"the tokenizers of {' and '.join(self.names)} cut none of the first {len(tried)} texts into the same"
                " tokens, and models are compared on the same tokens: give other text, or models of one vocabulary"
            )
        return found

    def cut_alike(self, text: str, row_length: int) -> bool:
        """Whether all tokenizers cut the first `row_length` tokens of a text alike, with what each adds by itself."""
        *others, last = self.names
        (ids,) = encode(self.tokenizers[last], [text])
        for name in others:
            (theirs,) = encode(self.tokenizers[name], [text])
            if self._tables[name, last][torch.tensor(ids[:row_length])].tolist() != theirs[:row_length]:
                return False
        return True

    @cached_property
    def _tables(self) -> dict[tuple[str, str], Int[Tensor, " id"]]:
        """The first model's own id of each id of the second one's tokenizer."""
        return {pair: self._table(*pair) for pair in permutations(self.names, 2)}

    def _table(self, name: str, of: str) -> Int[Tensor, " id"]:
        tokenizer, own = self.tokenizers[of], self.tokenizers[name]
        table = torch.arange(len(tokenizer)) if tokenizer is own else translation(tokenizer, own)
        clashing = [token for token in self.clashing_ids if token < len(table) and token != tokenizer.bos_token_id]
        table[clashing] = NO_ID
        if not (table != NO_ID).any():
            raise ValueError(
                f"the vocabularies of {of} and {name} have no token in common, and models are stitched on the same"
                " tokens: choose models whose tokenizers cut some text alike"
            )
        return table

    def _has_ids_of(self, name: str, other: str) -> bool:
        table = torch.arange(0) if name == other else self._tables[name, other]
        return torch.equal(table, torch.arange(len(table)))

    def _reader(self, name: str, of: str) -> TracedModel:
        if self._has_ids_of(name, of):
            return self.models[name]
        return Translated(self.models[name], self.tokenizers[of], self._tables[name, of])
