"""Documents cut into stretches of like length, wherever latents fire: nothing of a cut tells of a firing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.harvest.tokens import TokenBatch
from toolkit.latents.regions import PARTS, UNMARKED, regions_of
from toolkit.latents.windows import NO_TOKEN

LONGEST = 32
"""Tokens of a stretch at most; a document's stretches differ in length by one token at most."""
N_PARTS = len(PARTS) + 1
"""Question, thinking, answer; and documents without marks."""
_PART_OF_REGION = torch.full((UNMARKED + 1,), len(PARTS))
for _number, _regions in enumerate(PARTS.values()):
    _PART_OF_REGION[_regions] = _number


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretches:
    """Stretches of documents, with the codes of some latents, one a column."""

    document: Int[Tensor, " stretch"]
    token_ids: Int[Tensor, "stretch place"]
    """`NO_TOKEN` past a stretch's end."""
    parts: Int[Tensor, " stretch"]
    """A bit for each part of its document that a stretch has tokens of."""
    codes: Float[Tensor, "stretch place column"]
    """0 on tokens that do not count."""

    @cached_property
    def largest(self) -> Float[Tensor, "stretch column"]:
        """The largest code of each column."""
        return self.codes.amax(dim=1)

    @classmethod
    def cut(
        cls,
        batch: TokenBatch,
        parts: Int[Tensor, "row position"],
        selected: Bool[Tensor, "row position"],
        codes: Float[Tensor, "token column"],
        first_document: int,
    ) -> "Stretches":
        """Cut the rows of a batch; row r is document `first_document` + r.

        `parts` has the part of each token of the batch, and `codes` a line for each selected token.
        """
        real = batch.attention_mask.bool()
        lengths = real.sum(dim=1)
        pieces = (lengths + LONGEST - 1) // LONGEST
        first = pieces.cumsum(0) - pieces
        row, position = real.nonzero().unbind(dim=1)
        n, m = lengths[row], pieces[row]
        piece = position * m // n
        stretch, place = first[row] + piece, position - (piece * n + m - 1) // m
        shape = (int(pieces.sum()), LONGEST)
        token_ids = torch.full(shape, NO_TOKEN, dtype=torch.int32)
        token_ids[stretch, place] = batch.input_ids[real].int()
        touched = torch.zeros(shape[0], N_PARTS, dtype=torch.bool)
        touched[stretch, parts[real]] = True
        counts = selected[real]
        placed = codes.new_zeros(*shape, codes.shape[1])
        placed[stretch[counts], place[counts]] = codes
        return cls(
            document=first_document + torch.arange(len(pieces)).repeat_interleave(pieces),
            token_ids=token_ids,
            parts=(touched.long() << torch.arange(N_PARTS)).sum(dim=1),
            codes=placed,
        )

    def restricted(self, kept: Bool[Tensor, " stretch"]) -> "Stretches":
        """Return these stretches alone."""
        return Stretches(
            document=self.document[kept],
            token_ids=self.token_ids[kept],
            parts=self.parts[kept],
            codes=self.codes[kept],
        )


def parts_of(batch: TokenBatch, pieces: Sequence[str]) -> Int[Tensor, "row position"]:
    """The part of its document that each token is of, by its number in `PARTS`, or the next number without marks."""
    regions = [regions_of([pieces[token] for token in row]) for row in batch.input_ids.tolist()]
    return _PART_OF_REGION[torch.tensor(regions)]


def are_for_testing(batch: TokenBatch, seed: int) -> Bool[Tensor, " row"]:
    """Which documents are to test explanations: about half of them, by their text and `seed` alone.

    So copies of a document are all of one half.
    """
    key = seed.to_bytes(8, "little", signed=True)
    rows = (row[mask.bool()] for row, mask in zip(batch.input_ids, batch.attention_mask, strict=True))
    digests = (blake2b(row.long().numpy().tobytes(), digest_size=1, key=key).digest() for row in rows)
    return torch.tensor([digest[0] % 2 == 1 for digest in digests])
