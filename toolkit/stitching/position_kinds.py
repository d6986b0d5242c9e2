"""What a token is predicted as: part of the prompt, of the thinking, of the answer, or a word of hesitation."""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from toolkit.latents.regions import PARTS, UNMARKED, regions_of
from toolkit.models.text.chat import CLOSING

PROMPT, THINKING, HESITATION, ANSWER, OTHER = "prompt", "thinking", "hesitation", "answer", "other text"
KINDS = (PROMPT, THINKING, HESITATION, ANSWER, OTHER)
"""A hesitation word inside the thinking is of the kind `hesitation`, and not of `thinking` too."""


def kinds_of(
    input_ids: Int[Tensor, "row position"], pieces: Sequence[str], hesitation: Collection[int]
) -> Int[Tensor, "row position"]:
    """Return the number in `KINDS` of each token, one document a row; padding gets one too, which means nothing.

    `pieces` are the texts of the vocabulary's tokens by id, `hesitation` the ids of the words of hesitation. The
    opening mark ends the prompt, and the closing one begins the answer. A thought that is not closed, as where a row
    cut its document, goes on to the end of the row. A document without an opening mark is other text.
    """
    numbers = _numbers()[_regions(input_ids, pieces)]
    words = torch.isin(input_ids.cpu(), torch.tensor(sorted(hesitation), dtype=torch.long))
    return numbers.masked_fill(words & (numbers == KINDS.index(THINKING)), KINDS.index(HESITATION))


def _regions(input_ids: Tensor, pieces: Sequence[str]) -> Tensor:
    # The mark that is put behind the row closes a thought that is open there, and changes nothing else.
    return torch.tensor([regions_of([*(pieces[token] for token in row), CLOSING])[:-1] for row in input_ids.tolist()])


def _numbers() -> Tensor:
    """The kind of each region."""
    numbers = torch.full((UNMARKED + 1,), KINDS.index(OTHER))
    for kind, regions in zip((PROMPT, THINKING, ANSWER), PARTS.values(), strict=True):
        numbers[regions] = KINDS.index(kind)
    return numbers
