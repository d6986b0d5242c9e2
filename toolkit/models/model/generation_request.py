"""What a generation is asked for: prompts, beginnings of their answers, and how these go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from toolkit.arguments import as_indices
from toolkit.models.model.edits import Change, Edit, Edits, check_change
from toolkit.models.model.sampling import Sampling
from toolkit.models.text.inputs import check_context
from toolkit.models.text.rows import padded


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """Prompts to continue.

    Raises `ValueError` for a prompt without tokens, for another number of beginnings or seeds than of prompts, and for
    an edit with `positions`, since generated text has none yet.
    """

    prompts: Sequence[Sequence[int]]
    begun: Sequence[Sequence[int]] = ()
    """What was written before of each prompt's answer; nothing if empty."""
    edit: Change | None = None
    """Applies at what was begun and what is written, and with `edit_prompt` or `covers_prompt` at the prompts too."""
    sampling: Sampling
    end_ids: Int[Tensor, " end"]
    """An answer goes up to and including one of these."""

    def __post_init__(self) -> None:
        check_change(self.edit)
        if not all(map(len, self.prompts)):
            raise ValueError("a prompt without tokens: give each prompt at least one")
        for given, what in ((self.begun, "begun answers"), (as_indices(self.sampling.seeds, "seed"), "seeds")):
            if len(given) not in (0, len(self.prompts)):
                raise ValueError(
                    f"{len(given)} {what} for {len(self.prompts)} prompts: give one for each prompt, or none"
                )
        if any(
            isinstance(part, Edit) and part.positions is not None for part in (self.edit.parts if self.edit else ())
        ):
            raise ValueError("an edit of chosen positions cannot steer a generation: give one that applies everywhere")

    @cached_property
    def texts(self) -> list[list[int]]:
        """Each prompt, with what was written behind it."""
        if not self.begun:
            return [*map(list, self.prompts)]
        return [[*prompt, *begun] for prompt, begun in zip(self.prompts, self.begun, strict=True)]

    @cached_property
    def n_begun(self) -> Int[Tensor, " prompt"]:
        """How many tokens of each answer were written before."""
        lengths = [len(text) - len(prompt) for text, prompt in zip(self.texts, self.prompts, strict=True)]
        return torch.tensor(lengths, dtype=torch.long)

    @cached_property
    def seeds(self) -> Int[Tensor, " prompt"]:
        """The seed of each prompt."""
        first = int(self.sampling.seed)
        given = as_indices(self.sampling.seeds, "seed") or range(first, first + len(self.prompts))
        return torch.tensor(given, dtype=torch.long)

    def first_inputs(
        self, rows: Int[Tensor, " row"]
    ) -> tuple[Int[Tensor, "row position"], Int[Tensor, "row position"]]:
        """Return ids and mask of these prompts with what was written, padded on the left."""
        return padded([self.texts[row] for row in rows.tolist()], left=True)

    def first_edit(self, edit: Edit | Edits | None, rows: Int[Tensor, " row"], positions: int) -> Edit | Edits | None:
        """Return the edit for the pass that reads the first inputs of these rows, given the one for whole rows."""
        if edit is None or self.sampling.edit_prompt:
            return edit
        begun: Bool[Tensor, "row position"] = torch.arange(positions) >= positions - self.n_begun[rows, None]
        parts = [each if each.covers_prompt else each.only(begun) for each in edit.edits]
        kept = tuple(each for each in parts if each.covers_prompt or begun.any())
        return Edits(kept) if kept else None


def check_prompts(prompts: Sequence[Sequence[int]], sampling: Sampling, context: int) -> None:
    """Raise `ValueError` for a prompt that with the new tokens exceeds the model's context."""
    longest = max(map(len, prompts), default=0)
    check_context(
        longest + int(sampling.new_tokens),
        context,
        f"a prompt of {longest:,} tokens with {sampling.new_tokens:,} new ones",
        "shorten the prompt or ask for fewer new tokens",
    )
