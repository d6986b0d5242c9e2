"""Examples of what makes latents fire: the strongest firings, and a random sample of all, collected in one pass."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import SupportsIndex

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.dictionaries.crosscoder import check_latents
from toolkit.latents.windows import NO_TOKEN, Firings, Window, best_nearby

QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")


@dataclass(frozen=True, kw_only=True)
class LatentExample:
    """One firing of a latent, with its surroundings."""

    document: int
    """Number of the document, in the order of reading."""
    position: int
    """Position of the firing in the document, in tokens."""
    score: float
    """The latent's code at the firing, weighted by decoder norms: f_k Σ‖W_dec,k‖."""
    token_ids: tuple[int, ...]
    """Ids of the context before, the token, and the context after; shorter at the ends of a document."""
    activations: tuple[float, ...]
    """The latent's code at each of these tokens."""
    peak: int
    """Index of the token that fires among these tokens."""

    def text(self, tokenizer: PreTrainedTokenizerBase) -> str:
        """Return the surroundings as text: « and » around the token that fires, … where the document goes on."""
        ends = (self.peak, self.peak + 1, len(self.token_ids))
        before, with_it, whole = (tokenizer.decode(list(self.token_ids[:end])) for end in ends)
        here, after = with_it.removeprefix(before), whole.removeprefix(with_it)
        if before + here + after != whole:  # a character is spread over several tokens
            parts = (self.token_ids[self.peak : self.peak + 1], self.token_ids[self.peak + 1 :])
            here, after = (tokenizer.decode(list(part)) for part in parts)
        space = here[: len(here) - len(here.lstrip())] if here.strip() else ""
        return f"{'…' * (self.position > self.peak)}{before}{space}«{here[len(space) :]}»{after}"


class KeptFirings:
    """For each latent, the `n` firings with the largest keys of all that were offered; no two windows overlap.

    A firing with a larger key nearby is never kept. So the result depends neither on the order of the text nor on how
    it is cut into batches.
    """

    def __init__(self, n_latents: int, n: int, window: Window, device: torch.device) -> None:
        self.n, self.window = n, window
        self.tensors = {
            name: torch.full((n_latents, n, *shape(window)), fill, dtype=dtype, device=device)
            for name, (fill, dtype, shape) in _FIELDS.items()
        }
        self.changed = torch.zeros(n_latents, dtype=torch.bool, device=device)
        """Latents whose examples changed since this was last cleared."""

    def offer(self, firings: Firings, key: Float[Tensor, " firing"], first_document: int) -> None:
        """Keep the firings with the largest keys, old and new; row r is document `first_document` + r."""
        # A firing loses only to nearby ones of larger keys, so those below the smallest kept key can be ignored.
        above = (key > self.tensors["key"][firings.latent, -1]).nonzero().squeeze(1)
        chosen = above[best_nearby(firings.place[above], key[above], firings.window.reach)]
        chosen = chosen[key[chosen].argsort(descending=True, stable=True)]
        chosen = chosen[firings.latent[chosen].argsort(stable=True)]
        latents, line, count = firings.latent[chosen].unique_consecutive(return_inverse=True, return_counts=True)
        rank = torch.arange(len(chosen), device=chosen.device) - (count.cumsum(0) - count)[line]
        best = rank < self.n
        chosen, slot = chosen[best], (line[best], self.n + rank[best])
        offered = {
            "key": key[chosen],
            "score": firings.score[chosen],
            "document": firings.row[chosen] + first_document,
            "position": firings.position[chosen],
            "tokens": firings.tokens(chosen),
            "activations": firings.activations(chosen),
        }
        self._merge(latents, slot, offered)

    def _merge(self, latents: Tensor, slot: tuple[Tensor, Tensor], offered: dict[str, Tensor]) -> None:
        """Join the new firings to the kept ones, and keep the `n` largest keys; of equal keys the older one stays."""
        lines = torch.arange(len(latents), device=latents.device)[:, None]
        order: Tensor | None = None
        for name, held in self.tensors.items():  # the key comes first, and orders the others
            both = torch.cat([held[latents], torch.full_like(held[latents], _FIELDS[name][0])], dim=1)
            both[slot] = offered[name].to(held.dtype)
            if order is None:
                order = both.argsort(dim=1, descending=True, stable=True)[:, : self.n]
            held[latents] = both[lines, order]
        self.changed[latents] = True

    def of(self, latent: SupportsIndex) -> list[LatentExample]:
        """Return the latent's examples, largest key first; raises `ValueError` for a latent that does not exist."""
        (latent,) = check_latents([latent], len(self.changed))
        filled = self.tensors["key"][latent].isfinite()
        columns = (self.tensors[name][latent][filled].tolist() for name in _FIELDS)
        return [self._example(*values) for values in zip(*columns, strict=True)]

    def _example(
        self, _: float, score: float, document: int, position: int, tokens: list[int], activations: list[float]
    ) -> LatentExample:
        inside = [index for index, token in enumerate(tokens) if token != NO_TOKEN]
        return LatentExample(
            document=document,
            position=position,
            score=score,
            token_ids=tuple(tokens[index] for index in inside),
            activations=tuple(activations[index] for index in inside),
            peak=self.window.before - inside[0],
        )


# For each tensor of `KeptFirings`: the value of an empty place, the type, and the shape of one entry.
_FIELDS: dict[str, tuple[float, torch.dtype, Callable[[Window], tuple[int, ...]]]] = {
    "key": (-torch.inf, torch.float32, lambda _: ()),
    "score": (0, torch.float32, lambda _: ()),
    "document": (0, torch.int64, lambda _: ()),
    "position": (0, torch.int32, lambda _: ()),
    "tokens": (NO_TOKEN, torch.int32, lambda window: (window.length,)),
    "activations": (0, torch.float32, lambda window: (window.length,)),
}


class TopExamples:
    """Collects for each latent, batch by batch, its `top` strongest firings and a sample of `sampled` of all.

    Every firing is as likely to be in the sample, but of two nearby ones only one can be. Scores are codes weighted by
    decoder norms, so they can be compared between latents. Memory for one latent is about 8 bytes × window ×
    (top + sampled).
    Raises `ValueError` where `top` is below 1 or `sampled` below 0.
    """

    def __init__(
        self,
        n_latents: int,
        *,
        generator: torch.Generator,
        top: int = 10,
        sampled: int = 12,
        window: Window | None = None,
        device: torch.device | None = None,
    ) -> None:
        if top < 1 or sampled < 0:
            raise ValueError(f"top {top}, sampled {sampled}: top must be at least 1, and sampled at least 0")
        self.n_latents, self.window, self.generator = n_latents, window or Window(), generator
        device = device or torch.device("cpu")
        self.top = KeptFirings(n_latents, top, self.window, device)
        self.sampled = KeptFirings(n_latents, sampled, self.window, device)
        self.documents = 0
        """Documents read so far."""

    def __repr__(self) -> str:
        kept = f"{self.top.n} strongest and {self.sampled.n} drawn firings"
        return f"TopExamples: of each of {self.n_latents:,} latents the {kept} in {self.documents:,} documents"

    @torch.no_grad()
    def add(
        self,
        input_ids: Int[Tensor, "row position"],
        attention_mask: Int[Tensor, "row position"],
        selected: Bool[Tensor, "row position"],
        codes: Float[Tensor, "token latent"],
    ) -> None:
        """Add rows, each a document; `codes` has a line for each selected token, row after row."""
        codes = codes.to(self.top.changed.device)
        firings = Firings.find(input_ids, attention_mask, selected, codes, self.window)
        if len(firings.score):
            self.top.offer(firings, firings.score, self.documents)
            if self.sampled.n:
                chance = torch.rand(len(firings.score), generator=self.generator).to(codes.device)
                self.sampled.offer(firings, chance, self.documents)
        self.documents += len(input_ids)

    def strongest(self, latent: SupportsIndex) -> list[LatentExample]:
        """Return the latent's strongest firings, the strongest first."""
        return self.top.of(latent)

    def quarters(self, latent: SupportsIndex) -> list[tuple[str, list[LatentExample]]]:
        """Return the latent's sampled firings in four quarters, from the weakest to the strongest."""
        sample = sorted(self.sampled.of(latent), key=lambda example: example.score)
        cuts = [len(sample) * quarter // 4 for quarter in range(5)]
        return [(name, sample[low:high]) for name, (low, high) in zip(QUARTERS, pairwise(cuts), strict=True)]
