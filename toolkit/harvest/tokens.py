"""The token stream: documents in, batches of ids out, one document a row.

One document a row, rather than several packed into one: attention stays plain and causal, so every architecture,
attention kernel, offload and remote server computes exactly what the model computes for that document alone. Rows of
like length share a batch, which keeps padding below a tenth.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.models.tokenizers import encode

WINDOW_DOCUMENTS = 1024


@dataclass(frozen=True)
class TokenBatch:
    """Ids of several documents, one a row, padded on the right."""

    input_ids: Int[Tensor, "row position"]
    attention_mask: Int[Tensor, "row position"]


class TokenStream:
    """Batches of at most `batch_tokens` tokens, padding included, in an order that `seed` decides.

    Documents come in windows of 1,024, are cut to `row_length` tokens, sorted by length into batches, and the window's
    batches are shuffled. With several `shards`, this one has every `shards`-th document. `state_dict` names the next
    batch; a stream that loads it goes on with that very batch.
    """

    def __init__(
        self,
        documents: IterableDataset,
        tokenizer: PreTrainedTokenizerBase,
        *,
        row_length: int,
        batch_tokens: int,
        seed: int,
        shard: int = 0,
        shards: int = 1,
    ) -> None:
        if row_length < 2:
            raise ValueError(f"--row-length {row_length}: position 0 is masked, so a row needs at least 2 tokens")
        if batch_tokens < row_length:
            raise ValueError(f"--forward-tokens {batch_tokens} is less than --row-length {row_length}: raise the first")
        if shards > 1:
            # Not split_dataset_by_node: it deals out files, and a held-out split that counts would count in each anew.
            # A copy, for views of one dataset count in one place, and other shards may be read beside this one.
            documents = deepcopy(documents).filter(lambda _, index: index % shards == shard, with_indices=True)
        # A view with a place of its own: `documents` itself stands where its last reader left it.
        self._documents, self._tokenizer = documents.select_columns(["text"]), tokenizer
        self._row_length, self._batch_tokens, self._seed = row_length, batch_tokens, seed
        self._window, self._batch = 0, 0
        self._window_state: dict[str, Any] = self._documents.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, as JSON."""
        return {"documents": self._window_state, "window": self._window, "batch": self._batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._window_state, self._window, self._batch = state["documents"], state["window"], state["batch"]

    def __iter__(self) -> Iterator[TokenBatch]:
        self._documents.load_state_dict(self._window_state)
        stream = iter(self._documents)
        while texts := [record["text"] for record in islice(stream, WINDOW_DOCUMENTS)]:
            batches = self._batches(self._rows(texts))
            while self._batch < len(batches):
                self._batch += 1
                yield self._pad(batches[self._batch - 1])
            self._window, self._batch = self._window + 1, 0
            self._window_state = self._documents.state_dict()

    def _rows(self, texts: list[str]) -> list[list[int]]:
        rows = (row[: self._row_length] for row in encode(self._tokenizer, texts))
        return [row for row in rows if len(row) > 1]

    def _batches(self, rows: list[list[int]]) -> list[list[list[int]]]:
        batches: list[list[list[int]]] = []
        for row in sorted(rows, key=len, reverse=True):
            if not batches or (len(batches[-1]) + 1) * len(batches[-1][0]) > self._batch_tokens:
                batches.append([])
            batches[-1].append(row)
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._window)
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def _pad(self, rows: list[list[int]]) -> TokenBatch:
        longest = len(rows[0])
        filler = self._tokenizer.pad_token_id or 0
        input_ids = torch.tensor([row + [filler] * (longest - len(row)) for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        return TokenBatch(input_ids, (torch.arange(longest) < lengths[:, None]).long())


def text_batches(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, row_length: int, batch_tokens: int
) -> TokenStream:
    """Batches of texts that are in memory."""
    documents = Dataset.from_dict({"text": list(texts)}).to_iterable_dataset()
    return TokenStream(documents, tokenizer, row_length=row_length, batch_tokens=batch_tokens, seed=0)
