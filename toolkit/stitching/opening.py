"""Models that are stitched to each other, whatever their depth, width and vocabulary."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, permutations
from typing import Any, Literal

import torch
from datasets import IterableDataset
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.harvest.documents import TEXTS
from toolkit.harvest.tokens import CUT_OTHERWISE
from toolkit.models.compatibility import check_not_the_same, find_clashes
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.models.opened_models import OpenedModels, check_places, open_each
from toolkit.models.sources import Model, Source, find_sources, tokenizers_of
from toolkit.models.text.tokenizers import Clashes, encode
from toolkit.models.text.vocabularies import NO_ID, translation
from toolkit.models.where import Where, as_where
from toolkit.stitching.translated import Translated

TEXTS_TRIED = 256
TWO_MODELS = "give two models; each of them is stitched to itself too, as a control"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StitchableModels(OpenedModels):
    """Two models or more by name, each with the tokenizer of its own vocabulary, or all with the last one's.

    A model is read with the ids of another where both have the same tokens (`reading`). Texts that all tokenizers cut
    into the same tokens are compared, others are left out (`comparable`).
    """

    tokenizers: Mapping[str, PreTrainedTokenizerBase]
    clashing_ids: Clashes = field(default_factory=dict)
    """Ids of a common vocabulary that mean different things to the models, and are refused."""

    @classmethod
    def from_pretrained(
        cls,
        models: Mapping[str, Model],
        *,
        where: Where | Any = "auto",
        clashes: Literal["refuse", "allow"] = "refuse",
    ) -> "StitchableModels":
        """Load models by name: each a local folder, a hub name, a `Checkpoint`, or a model that is loaded.

        Raises `ValueError` as `open` does, and for a model that cannot be found.
        """
        return cls.open(find_sources(models), where=where, clashes=clashes)

    @classmethod
    def open(
        cls,
        sources: Sequence[Source],
        *,
        where: Where | Any = "auto",
        clashes: Literal["refuse", "allow"] = "refuse",
    ) -> "StitchableModels":
        """Load the models that `find_sources` found.

        Added tokens of one vocabulary that mean other things to the models are warned of, and refused where text has
        them, or with `clashes` "allow" read by each model in its own way.
        Raises `ValueError` as `ModelSet.open` does, but not for models of other shapes or vocabularies; and for two
        that have the same weights.
        """
        where = as_where(where)
        check_places(sources, where)
        configs = {source.role: source.config() for source in sources}
        for number, source in enumerate(sources):
            if source.module is None:
                others = [other for other in sources[:number] if other.module is None]
                check_not_the_same(source, others, TWO_MODELS, remote=where.remote)
        tokenizers, clashing_ids = tokenizers_of(sources, None), {}
        with suppress(ValueError):  # as raised for other vocabularies, of which each keeps its own tokenizer
            clashing_ids = find_clashes(configs, tokenizers)
            tokenizers = dict.fromkeys(tokenizers, tokenizers[sources[-1].role])
        models, refused = open_each(sources, tokenizers, where), clashing_ids if clashes == "refuse" else {}
        return cls(models=models, tokenizers=tokenizers, found=tuple(sources), clashing_ids=refused)

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
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The last model's tokenizer."""
        return self.tokenizers[self.names[-1]]

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
        special = torch.isin(torch.arange(len(table)), torch.tensor(tokenizer.all_special_ids))
        if (table[~special] == NO_ID).all():
            raise ValueError(
                f"the vocabularies of {of} and {name} have no ordinary token in common, and models are stitched on the"
                " same tokens: choose models whose tokenizers cut some text alike"
            )
        return table

    def _has_ids_of(self, name: str, other: str) -> bool:
        table = torch.arange(0) if name == other else self._tables[name, other]
        return torch.equal(table, torch.arange(len(table)))

    def _reader(self, name: str, of: str) -> TracedModel:
        if self._has_ids_of(name, of):
            return self.models[name]
        return Translated(self.models[name], self.tokenizers[of], self._tables[name, of])
