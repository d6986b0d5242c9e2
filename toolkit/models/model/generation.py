"""Generates text, under an edit if one is given, with one traced pass for each token of a batch of rows.

Rows are replaced as they end, so that a long answer keeps no place empty. Transformers' own continuous batching
(`generate_batch`) cannot serve here: it lays the tokens of all rows out as one row, in a thread of its own, where a
trace finds no rows to edit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache

from toolkit.models.model.edits import Change
from toolkit.models.model.generation_request import Request
from toolkit.models.model.step import Caches, Step
from toolkit.models.places.ndif.server_side import scores
from toolkit.tracking import track

FREE_SHARE = 16
"""Rows join when this part of the places is free: a pass for them costs about as much as one for all others. Of a
quarter, an eighth and a sixteenth, a sixteenth took the least time with 32 and with 64 rows."""


@runtime_checkable
class Writer(Protocol):
    """A model that keeps caches of keys and values."""

    def empty_cache(self) -> Cache:
        """Return an empty cache."""

    def logits(
        self, input_ids: Tensor, attention_mask: Tensor, *, edit: Change | None, last: int, past: Cache
    ) -> Float[Tensor, "row asked vocab"]:
        """Return the logits of the last positions, of tokens that follow `past`."""


def write_each(model: Writer, request: Request, rows: int) -> Iterator[tuple[int, list[int]]]:
    """Continue the prompts, `rows` at a time, and yield each one's number and new ids once it has ended."""
    generation = Generation(model, request)
    for ended in track(generation.passes(rows), "tokens", "tokens"):
        for number in ended:
            yield number, generation.written.pop(number)


@dataclass(frozen=True, eq=False)
class Live:
    """Rows that are not finished."""

    numbers: Int[Tensor, " live"]
    """Their numbers among all prompts."""
    tokens: Int[Tensor, " live"]
    """The token that was written last, and not read yet."""
    mask: Int[Tensor, "live read"]
    """Where they have tokens in `caches`; a row is padded on the left."""
    caches: Caches

    def kept(self, rows: Int[Tensor, " kept"]) -> "Live":
        """These of the rows, in this order. It changes the caches."""
        self.caches.keep(rows)
        mask = self.mask[rows]
        if len(rows) and self.caches.can_join:
            padding = int(mask.any(dim=0).long().argmax())
            self.caches.drop_first(padding)
            mask = mask[:, padding:]
        return Live(self.numbers[rows], self.tokens[rows], mask, self.caches)

    def joined_by(self, others: "Live") -> "Live":
        """These rows, then the others. It changes the caches."""
        self.caches.join(others.caches)
        width = max(self.mask.shape[1], others.mask.shape[1])
        masks = [torch.nn.functional.pad(each.mask, (width - each.mask.shape[1], 0)) for each in (self, others)]
        numbers, tokens = torch.cat([self.numbers, others.numbers]), torch.cat([self.tokens, others.tokens])
        return Live(numbers, tokens, torch.cat(masks), self.caches)


class Generation:
    """Writes what was asked for, a pass at a time."""

    def __init__(self, model: Writer, request: Request) -> None:
        self.model, self.request = model, request
        self.written: dict[int, list[int]] = {}
        """New ids of the rows that have begun, by number."""

    def passes(self, rows: int) -> Iterator[list[int]]:
        """Make pass after pass with up to `rows` rows; yield the numbers of the rows that ended with each."""
        n_prompts, begun = len(self.request.prompts), 0
        enough = max(1, rows // FREE_SHARE)
        live: Live | None = None
        while live is not None or begun < n_prompts:
            n_live = 0 if live is None else len(live.numbers)
            joining = min(rows - n_live, n_prompts - begun)
            if live is None or (joining and live.caches.can_join and rows - n_live >= enough):
                made = self._begin(torch.arange(begun, begun + joining))
                begun += joining
            else:
                made, live = self._go_on(live), None
            ended, going_on = self._ended(made)
            if len(going_on):
                made = made if len(going_on) == len(made.numbers) else made.kept(going_on)
                live = made if live is None else live.joined_by(made)
            yield ended

    def _begin(self, numbers: Int[Tensor, " row"]) -> Live:
        """Read prompts, with what was begun of their answers, and write a token each."""
        self.written.update((number, []) for number in numbers.tolist())
        step = Step(*self.request.first_inputs(numbers), numbers, Caches())
        now = self.request.edit.at(step) if self.request.edit else None
        return self._write(step, self.request.first_edit(now, numbers, step.input_ids.shape[1]))

    def _go_on(self, live: Live) -> Live:
        """Read the tokens that were written last, and write one more each."""
        mask = torch.cat([live.mask, live.mask.new_ones(len(live.mask), 1)], dim=1)
        step = Step(live.tokens[:, None], mask, live.numbers, live.caches)
        return self._write(step, self.request.edit.at(step) if self.request.edit else None)

    def _write(self, step: Step, edit: Change | None) -> Live:
        past = step.caches.of(self, self.model)
        logits = self.model.logits(step.input_ids, step.attention_mask, edit=edit, last=1, past=past)[:, -1]
        if bool(logits.isnan().any()):
            raise ValueError(
                "the model's logits hold NaN, from which no token can be drawn: make the edit smaller, or load the"
                " model with --dtype float32"
            )
        numbers = step.rows.tolist()
        drawn = torch.tensor([len(self.written[number]) for number in numbers]) + self.request.n_begun[step.rows]
        drawing = self.request.sampling.drawing
        tokens = scores(logits, drawing, self.request.seeds[step.rows], drawn).argmax(dim=-1).cpu()
        for number, token in zip(numbers, tokens.tolist(), strict=True):
            self.written[number].append(token)
        return Live(step.rows, tokens, step.attention_mask, step.caches)

    def _ended(self, live: Live) -> tuple[list[int], Int[Tensor, " kept"]]:
        """Return the numbers of the rows that have ended, and the others' places in a new order."""
        full = [len(self.written[number]) == self.request.sampling.new_tokens for number in live.numbers.tolist()]
        over = torch.isin(live.tokens, self.request.end_ids) | torch.tensor(full)
        n_kept = int((~over).sum())
        order = torch.arange(n_kept)
        # The last rows take the places of those that ended, so that few are copied.
        order[over[:n_kept]] = (~over[n_kept:]).nonzero()[:, 0] + n_kept
        return live.numbers[over].tolist(), order
