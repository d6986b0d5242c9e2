"""Turns documents into batches of ids, one document a row, and selects the tokens that count.

A row holds one document, not several: attention stays plain and causal, so every architecture, attention kernel,
offload and remote server computes exactly what the model computes for that document alone. Rows of similar length
share a batch, which keeps padding below a tenth.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from datasets import IterableDataset
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.devices import hold_on_cpu
from toolkit.harvest.choices import check_row_length
from toolkit.models.text.rows import by_length, by_rows, padded
from toolkit.models.text.tokenizers import encode

WINDOW_DOCUMENTS = 1024
READ, LEFT_OUT = ("whole", "cut", "without images or the like"), ("malformed", "no text", "not text")
CUT_OTHERWISE = "cut otherwise by another tokenizer"
"""Why a document is left out where models of two vocabularies are compared."""
DOCUMENTS = (*READ, *LEFT_OUT)
"""Counts of documents: how each was read, or why it was left out."""
CUT_OFF = "beyond_row_length"
"""Count of tokens that were cut off documents."""
MEDIANS_KEPT = 64
DROPPED = ("padding", "position_0", "special", "outlier_norm", CUT_OFF)
"""Reasons why tokens do not count."""


@dataclass(frozen=True)
class TokenBatch:
    """Ids of several documents, one a row, padded on the right; on the CPU, wherever they were."""

    input_ids: Int[Tensor, "row position"]
    attention_mask: Int[Tensor, "row position"]
    counts: Counter[str] = field(default_factory=Counter)
    """Counts of documents and of tokens cut off since the batch before; those of a window come with its first batch."""
    next_place: dict[str, Any] = field(default_factory=dict)
    """The `state_dict` of a stream that continues after this batch; empty for a batch that is from no stream."""
    documents: Int[Tensor, " row"] = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    """Number of each row's text, where texts were given one by one; empty for a batch of a stream."""

    def __post_init__(self) -> None:
        hold_on_cpu(self)


def describe_documents(counts: Mapping[str, int]) -> str:
    """Write counts of documents in words; an empty text where no document was read."""
    said = {
        verb: ", ".join(f"{counts[name]:,} {name}" for name in names if counts.get(name))
        for verb, names in (("read", READ), ("left out", (*LEFT_OUT, CUT_OTHERWISE)))
    }
    cut_off = f" ({counts[CUT_OFF]:,} tokens cut off)" if counts.get(CUT_OFF) else ""
    return "; ".join(f"{verb} {what}{cut_off if verb == 'read' else ''}" for verb, what in said.items() if what)


class TokenStream:
    """Yields batches of at most `batch_tokens` tokens, padding included, in an order that `seed` decides.

    Documents are read in windows of 1,024, cut to `row_length` tokens, and sorted by length into batches; then the
    window's batches are shuffled. With several `shards`, this one has every `shards`-th document. `state_dict` names
    the next batch; a stream that loads it starts with that very batch.

    With `batch_rows` a batch has just so many documents, whatever their length; those that are left of a window, fewer
    than a batch, are not read.
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
        batch_rows: int | None = None,
    ) -> None:
        check_row_length(row_length, batch_tokens)
        if shards > 1:
            # Not split_dataset_by_node: it shares out files, and the counting that holds out documents would start
            # anew in each. A copy: views of one dataset share one place, and other shards may be read at the same time.
            documents = deepcopy(documents).filter(lambda _, index: index % shards == shard, with_indices=True)
        columns = [name for name in ("text", "left_out") if name in (documents.column_names or ["text"])]
        # A view with a place of its own: `documents` itself stands where its last reader stopped.
        self._documents, self._tokenizer = documents.select_columns(columns), tokenizer
        self._row_length, self._batch_tokens, self._seed = row_length, batch_tokens, seed
        self._batch_rows = batch_rows
        self._window, self._batch = 0, 0
        self.uncounted: Counter[str] = Counter()
        """Counts of windows without a batch, which come with the next one."""
        self._window_state: dict[str, Any] = self._documents.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, as JSON."""
        place = {"documents": self._window_state, "window": self._window, "batch": self._batch}
        return place | {"uncounted": dict(self.uncounted)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._window_state, self._window, self._batch = state["documents"], state["window"], state["batch"]
        self.uncounted = Counter(state["uncounted"])

    def __iter__(self) -> Iterator[TokenBatch]:
        self._documents.load_state_dict(self._window_state)
        stream = iter(self._documents)
        while records := list(islice(stream, WINDOW_DOCUMENTS)):
            rows, counts = self._rows(records)
            batches = self._batches(rows)
            if self._batch == 0:
                self.uncounted += counts
            while self._batch < len(batches):
                self._batch += 1
                counts, self.uncounted = self.uncounted, Counter()
                yield self._pad(batches[self._batch - 1], counts)
            self._window, self._batch = self._window + 1, 0
            self._window_state = self._documents.state_dict()

    def _rows(self, records: list[dict[str, str]]) -> tuple[list[list[int]], Counter[str]]:
        rows: list[list[int]] = []
        counts: Counter[str] = Counter()
        for record, row in zip(records, encode(self._tokenizer, [record["text"] for record in records]), strict=True):
            left_out = record.get("left_out") or ""
            cut_off = max(0, len(row) - self._row_length)
            counts[CUT_OFF] += cut_off
            if len(row) > 1:
                rows.append(row[: self._row_length])
                counts[left_out or ("cut" if cut_off else "whole")] += 1
            else:
                counts[left_out or "no text"] += 1
        return rows, counts

    def _batches(self, rows: list[list[int]]) -> list[list[list[int]]]:
        lengths = [len(row) for row in rows]
        places = (
            by_length(lengths, self._batch_tokens) if self._batch_rows is None else by_rows(lengths, self._batch_rows)
        )
        batches = [[rows[place] for place in batch] for batch in places]
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._window)
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def _pad(self, rows: list[list[int]], counts: Counter[str]) -> TokenBatch:
        return TokenBatch(*padded(rows, self._tokenizer.pad_token_id or 0), counts, self.state_dict())


class TokenMask:
    """Selects the tokens that count, and keeps counts of dropped tokens by reason and of their documents.

    The outlier filter compares norms with a running median of each stream (over the last 64 batches' medians):
    models of the Qwen family have attention sinks of more than 100 times the median norm at unforeseeable positions.
    """

    def __init__(self, *, special_ids: frozenset[int], keep_position_0: bool, outlier_factor: float) -> None:
        if not outlier_factor > 1:
            raise ValueError(
                f"--outlier-factor {outlier_factor}: must be above 1 (10 is usual, inf turns the filter off)"
            )
        self._special_ids = torch.tensor(sorted(special_ids), dtype=torch.long)
        self._keep_position_0, self._outlier_factor = keep_position_0, outlier_factor
        self._medians: list[list[float]] = []
        self.counts: Counter[str] = Counter(dict.fromkeys((*DROPPED, "kept", *DOCUMENTS), 0))

    def judge(self, batch: TokenBatch) -> tuple[Bool[Tensor, "row position"], Counter[str]]:
        """Return which tokens may count, by ids and positions, and how many do not, by reason; changes no counts."""
        real = batch.attention_mask.bool()
        first = torch.zeros_like(real)
        first[:, 0] = not self._keep_position_0
        special = torch.isin(batch.input_ids, self._special_ids.to(batch.input_ids.device))
        dropped = {"padding": ~real, "position_0": real & first, "special": real & ~first & special}
        counts = Counter({reason: int(those.sum()) for reason, those in dropped.items()})
        return real & ~first & ~special, counts + batch.counts

    def tokens(self, batch: TokenBatch) -> Bool[Tensor, "row position"]:
        """Return which tokens may count, as `judge` does, and add the others to the counts."""
        chosen, dropped = self.judge(batch)
        self.counts.update(dropped)
        return chosen

    def norms(self, activations: Float[Tensor, "token stream d_model"]) -> Bool[Tensor, " token"]:
        """Return which tokens have a norm of at most `outlier_factor` times the running median in every stream.

        The answer is on the CPU: the norms go there, which is the one time that it waits for a GPU.
        """
        if not len(activations):
            return torch.ones(0, dtype=torch.bool)
        norms = torch.linalg.vector_norm(activations, dim=2, dtype=torch.float32).cpu()
        self._medians = [*self._medians, norms.nanmedian(dim=0).values.tolist()][-MEDIANS_KEPT:]
        typical = torch.tensor(self._medians).nanmedian(dim=0).values
        # NaN is not dropped as an outlier, but kept, so that the trainer finds it and stops.
        keep = ~(norms > self._outlier_factor * typical).any(dim=1)
        kept = int(keep.sum())
        self.counts["kept"] += kept
        self.counts["outlier_norm"] += len(keep) - kept
        return keep

    def state_dict(self) -> dict[str, Any]:
        """The running medians and the counts, as JSON."""
        return {"medians": self._medians, "counts": dict(self.counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._medians, self.counts = state["medians"], Counter(state["counts"])
