"""A model that reads the ids of another vocabulary, so that it can be stitched to a model of that vocabulary."""

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import Cache, PreTrainedTokenizerBase

from toolkit.models.model.traced_model import TracedModel
from toolkit.models.text.inputs import Ids, as_batch
from toolkit.models.text.vocabularies import NO_ID


class Translated(TracedModel):
    """The same model, but for the ids that it takes: those of `tokenizer`, each read as its own id of the same token.

    Positions stay what they are. Its logits, where they are asked for, are those of its own vocabulary; so it writes no
    text.
    """

    def __init__(self, model: TracedModel, tokenizer: PreTrainedTokenizerBase, table: Int[Tensor, " its_id"]) -> None:
        """`table` holds the model's id of each of the tokenizer's, or `NO_ID`: see `vocabularies.translation`."""
        super().__init__(model.place, n_layers=None if model.depth is None else model.n_layers)
        self._tokenizer, self._table = tokenizer, table

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer whose ids it takes."""
        return self._tokenizer

    def own_ids(self, input_ids: Int[Tensor, "*place"]) -> Int[Tensor, "*place"]:
        """Return the model's own id of each token, `NO_ID` where it has none."""
        table = self._table.to(input_ids.device)
        last = len(table) - 1
        return torch.where((input_ids >= 0) & (input_ids <= last), table[input_ids.clamp(0, last)], NO_ID)

    def inputs(
        self, input_ids: Ids, attention_mask: Ids | None, past: Cache | None, *, masked: bool = True
    ) -> dict[str, Any]:
        """Return what a pass takes; raises `ValueError` for tokens that the model does not have, and as others do."""
        ids, mask = as_batch(self._tokenizer, input_ids, attention_mask, past=past is not None)
        own = self.own_ids(ids)
        lacking = ids[(own == NO_ID) & mask[:, -ids.shape[1] :].bool().to(own.device)].unique().tolist()
        if lacking:
            named = ", ".join(f"{token} ({self._tokenizer.decode([token])!r})" for token in lacking[:8])
            more = f" and {len(lacking) - 8} more" if len(lacking) > 8 else ""
            raise ValueError(
                f"the text uses tokens that {self.source} does not have, or means otherwise: {named}{more}. Give text"
                " without them, or where only added tokens of one vocabulary differ, open the models with"
                " clashes='allow'; a stitched model that writes such a token cannot go on"
            )
        return super().inputs(own.clamp(min=0), mask, past, masked=masked)

    def generate_each(self, prompts: Sequence[Sequence[int]], **how: Any) -> Iterator[NoReturn]:
        """Raise `ValueError`: what it would write is of another vocabulary than what it reads."""
        raise ValueError(
            f"{self.source} is read with the ids of another vocabulary here, and writes its own: generate with the"
            " model itself"
        )
