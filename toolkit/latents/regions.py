"""Where in an answer latents fire: in the question, in each tenth of the thinking, or in the answer itself.

A document's thinking stands between `<think>` and `</think>`. What leads up to it, with the first mark, is the
question; what follows, with the second mark, is the answer.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.models.text.chat import CLOSING, OPENING
from toolkit.statistics.estimates import Estimate, ratio_of_sums

TENTHS = 10
QUESTION, ANSWER = "question", "answer"
THINKING = tuple(f"thinking {tenth * TENTHS}–{(tenth + 1) * TENTHS} %" for tenth in range(TENTHS))
REGIONS = (QUESTION, *THINKING, ANSWER)
UNMARKED = len(REGIONS)
"""Number of the region of tokens in documents without both marks."""
PARTS = {QUESTION: slice(0, 1), "thinking": slice(1, 1 + TENTHS), ANSWER: slice(1 + TENTHS, 2 + TENTHS)}
"""The regions as three parts."""


def regions_of(pieces: Sequence[str]) -> list[int]:
    """Return the region of each of a document's tokens, given as text: all `UNMARKED` without both marks."""
    text, ends = "".join(pieces), list(accumulate(map(len, pieces)))
    opening = text.find(OPENING)
    closing = text.find(CLOSING, max(opening, 0))
    if opening < 0 or closing < 0:
        return [UNMARKED] * len(pieces)
    first, last = bisect_right(ends, opening + len(OPENING) - 1) + 1, bisect_right(ends, closing)
    thinking = [1 + TENTHS * place // (last - first) for place in range(last - first)]
    return [0] * first + thinking + [1 + TENTHS] * (len(pieces) - first - len(thinking))


class RegionCounts:
    """Tokens, firings and summed codes by region, of each latent; and how many latents fire, document by document.

    The latents are those of `n_layers` layers, one layer after the other.
    """

    def __init__(self, pieces: Sequence[str], n_layers: int, n_latents: int) -> None:
        """Take the text of every token of the vocabulary, by id, and how many latents each layer has."""
        self._pieces, self.n_layers = pieces, n_layers
        self.fired = torch.zeros(UNMARKED + 1, n_layers * n_latents, dtype=torch.int64)
        self.mass = torch.zeros(UNMARKED + 1, n_layers * n_latents, dtype=torch.float64)
        """Sums of codes."""
        self.tokens = torch.zeros(0, UNMARKED + 1, dtype=torch.int64)
        """[document, region]."""
        self.active = torch.zeros(0, UNMARKED + 1, n_layers, dtype=torch.int64)
        """Firings of all latents of a layer, [document, region, layer]."""

    @classmethod
    def joined(cls, parts: Sequence["RegionCounts"]) -> "RegionCounts":
        """Return the counts of several blocks of layers on the same documents, one block after the other."""
        layers = sum(part.n_layers for part in parts)
        whole = cls(parts[0]._pieces, layers, parts[0].fired.shape[1] // parts[0].n_layers)
        assert all(torch.equal(part.tokens, parts[0].tokens) for part in parts), "all were counted on the same tokens"
        whole.tokens, whole.active = parts[0].tokens, torch.cat([part.active for part in parts], dim=2)
        whole.fired, whole.mass = (torch.cat([getattr(part, name) for part in parts], 1) for name in ("fired", "mass"))
        return whole

    def add(
        self,
        input_ids: Int[Tensor, "row position"],
        selected: Bool[Tensor, "row position"],
        codes: Float[Tensor, "token latent"],
    ) -> None:
        """Count one batch of documents, one a row; `codes` has a line for each selected token, row after row."""
        region = torch.tensor([regions_of([self._pieces[token] for token in row]) for row in input_ids.tolist()])
        here, row = region[selected.cpu()], selected.cpu().nonzero()[:, 0]
        n_rows, n_regions = len(selected), UNMARKED + 1
        inside = torch.nn.functional.one_hot(here, n_regions).t().to(codes)  # [region, token]
        fires = (codes > 0).to(codes)
        self.fired += (inside @ fires).long().cpu()
        self.mass += (inside @ codes).cpu()
        active = fires.unflatten(1, (self.n_layers, -1)).sum(dim=2).long().cpu()
        place = row * n_regions + here
        sums = torch.zeros(n_rows * n_regions, self.n_layers, dtype=torch.int64).index_add_(0, place, active)
        self.active = torch.cat([self.active, sums.view(n_rows, n_regions, self.n_layers)])
        self.tokens = torch.cat([self.tokens, place.bincount(minlength=n_rows * n_regions).view(n_rows, n_regions)])

    @property
    def marked_documents(self) -> int:
        """Documents with both marks."""
        return int((self.tokens[:, :UNMARKED].sum(dim=1) > 0).sum())

    @property
    def token_shares(self) -> Float[Tensor, " region"]:
        """Each region's share of the tokens of documents with marks."""
        tokens = self.tokens[:, :UNMARKED].sum(dim=0).double()
        return tokens / tokens.sum().clamp(min=1)

    @property
    def shares(self) -> Float[Tensor, "region latent"]:
        """Each region's share of a latent's summed codes in documents with marks; NaN for one that is silent there."""
        mass = self.mass[:UNMARKED]
        return mass / mass.sum(dim=0)

    @property
    def rates(self) -> Float[Tensor, "region latent"]:
        """The share of a region's tokens on which a latent fires; NaN for a region without tokens."""
        return self.fired[:UNMARKED] / self.tokens[:, :UNMARKED].sum(dim=0)[:, None].double()

    def l0(self, layer: int | None = None, regions: slice = slice(None)) -> Estimate:
        """Return how many latents of a layer fire on a token, with an interval over documents; of all layers for None.

        `regions` are those of `REGIONS`, and last the documents without marks; all by default.
        """
        active = self.active if layer is None else self.active[:, :, layer : layer + 1]
        return ratio_of_sums(active[:, regions].sum(dim=(1, 2)).double(), self.tokens[:, regions].sum(dim=1).double())

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything counted so far."""
        return {name: getattr(self, name) for name in ("fired", "mass", "tokens", "active")}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the counts in `state`."""
        for name, counts in state.items():
            setattr(self, name, counts.cpu())
