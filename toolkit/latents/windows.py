"""Firings of latents in a batch of rows, in sparse form, with the tokens and codes around each."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.sparse_codes import positive_positions

NO_TOKEN = -1


@dataclass(frozen=True, kw_only=True)
class Window:
    """How many tokens of context an example shows."""

    before: int = 24
    """Tokens before the one that fires."""
    after: int = 8
    """Tokens after the one that fires."""

    def __post_init__(self) -> None:
        if self.before < 0 or self.after < 0:
            raise ValueError(f"a window of {self.before} tokens before and {self.after} after: give 0 or more of each")

    @property
    def length(self) -> int:
        """Tokens that a window shows in all."""
        return self.before + 1 + self.after

    @property
    def reach(self) -> int:
        """The distance at which two windows still overlap."""
        return self.length - 1


@dataclass(frozen=True, kw_only=True)
class Firings:
    """Where latents fire in a batch of rows, ordered by latent, then by position in the text.

    `place` numbers the positions of all rows of all latents, with gaps between rows that are wider than a window. So
    two places are near each other only where the same latent fires twice in one row, at nearby positions.
    """

    latent: Int[Tensor, " firing"]
    row: Int[Tensor, " firing"]
    position: Int[Tensor, " firing"]
    place: Int[Tensor, " firing"]
    score: Float[Tensor, " firing"]
    input_ids: Int[Tensor, "row position"]
    lengths: Int[Tensor, " row"]
    window: Window

    @classmethod
    def find(
        cls,
        input_ids: Int[Tensor, "row position"],
        attention_mask: Int[Tensor, "row position"],
        selected: Bool[Tensor, "row position"],
        codes: Float[Tensor, "token latent"],
        window: Window,
    ) -> "Firings":
        """Find the positive codes; `codes` has a line for each selected token, row after row."""
        device = codes.device
        flat = positive_positions(codes.t())
        latent = torch.div(flat, len(codes), rounding_mode="floor")
        token = flat - latent * len(codes)
        rows, positions = selected.to(device).nonzero().unbind(dim=1)
        row, position = rows[token], positions[token]
        stride = input_ids.shape[1] + window.reach
        return cls(
            latent=latent,
            row=row,
            position=position,
            place=(latent * len(input_ids) + row) * stride + position,
            score=codes[token, latent].float(),
            input_ids=input_ids.to(device),
            lengths=attention_mask.to(device).sum(dim=1),
            window=window,
        )

    def tokens(self, chosen: Int[Tensor, " chosen"]) -> Int[Tensor, "chosen offset"]:
        """Return the ids in the windows of the chosen firings; `NO_TOKEN` beyond the ends of the document."""
        chosen = chosen.to(self.place.device)
        position = self.position[chosen, None] + self._offsets()
        row = self.row[chosen, None]
        inside = (position >= 0) & (position < self.lengths[row])
        ids = self.input_ids[row, position.clamp(0, self.input_ids.shape[1] - 1)]
        return torch.where(inside, ids, NO_TOKEN).int()

    def activations(self, chosen: Int[Tensor, " chosen"]) -> Float[Tensor, "chosen offset"]:
        """Return the codes in the windows of the chosen firings, 0 where the latent does not fire."""
        place = self.place[chosen.to(self.place.device), None] + self._offsets()
        found = torch.searchsorted(self.place, place).clamp(max=len(self.place) - 1)
        return torch.where(self.place[found] == place, self.score[found], 0.0)

    def _offsets(self) -> Tensor:
        return torch.arange(-self.window.before, self.window.after + 1, device=self.place.device)


def best_nearby(place: Int[Tensor, " firing"], key: Float[Tensor, " firing"], reach: int) -> Bool[Tensor, " firing"]:
    """Where no other within `reach` places has a larger key; of equal keys only the first is true. Places ascend."""
    best, key = torch.ones_like(place, dtype=torch.bool), key.to(place.device)
    for step in range(1, min(reach, len(place) - 1) + 1):
        near = place[step:] - place[:-step] <= reach
        if not near.any():
            break
        rises = key[step:] > key[:-step]
        best[:-step] &= ~(near & rises)
        best[step:] &= ~(near & ~rises)
    return best
