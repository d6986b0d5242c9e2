"""Settings of how generated tokens are drawn."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import SupportsFloat, SupportsIndex, TypedDict

from toolkit.arguments import Indices, as_index, as_indices, as_number, plain


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn, greedily by default. Numbers may be numpy's, or in tensors.

    Raises `ValueError` for a value out of range.
    """

    new_tokens: SupportsIndex = 320
    """Tokens after which an unfinished answer is cut."""
    temperature: SupportsFloat = 0.0
    """0 takes the likeliest token; above, tokens are drawn from the softmax of logits / temperature."""
    top_k: SupportsIndex = 0
    """Draw from this many of the likeliest tokens; 0 takes all."""
    top_p: SupportsFloat = 1.0
    """Of those, draw from the likeliest that together reach this probability; 1 takes all, .95 is usual for R1."""
    seed: SupportsIndex = 0
    """Seed of the first prompt; each of the others has the next number."""
    seeds: Indices = ()
    """One seed for each prompt, in place of `seed`; equal seeds draw the same noise, whatever else is in the batch."""
    edit_prompt: bool = False
    """Apply the edit at the prompt's positions too; a `Stitch` is applied there in any case."""

    def __post_init__(self) -> None:
        new_tokens, top_k = as_index(self.new_tokens, "new_tokens"), as_index(self.top_k, "top_k")
        temperature, top_p = as_number(self.temperature, "temperature"), as_number(self.top_p, "top_p")
        seeds = as_indices(self.seeds, "seed")
        if isinstance(plain(self.seed), Iterable):
            raise ValueError(f"seed {self.seed!r:.60}: give one, and with several prompts each has the next; or seeds=")
        if new_tokens < 1:
            raise ValueError(f"new_tokens {new_tokens}: must be at least 1")
        if not 0 <= temperature < float("inf"):
            raise ValueError(f"temperature {temperature}: must be 0 (greedy) or above, .6 is usual for R1 models")
        if top_k < 0:
            raise ValueError(f"top_k {top_k}: must be 0 (all tokens) or above")
        if not 0 <= top_p <= 1:
            raise ValueError(f"top_p {top_p}: must be from 0 (the likeliest token) to 1 (all tokens)")
        seed = as_index(self.seed, "seed")
        if wrong := [each for each in (seed, *seeds) if not 0 <= each < 2**63]:
            raise ValueError(f"seed {wrong[0]}: must be from 0 to 2^63 - 1")
        read = {"new_tokens": new_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
        for name, value in (read | {"seeds": seeds}).items():
            object.__setattr__(self, name, value)

    @property
    def drawing(self) -> tuple[float, int, float]:
        """Temperature, top_k and top_p."""
        return float(self.temperature), int(self.top_k), float(self.top_p)


GREEDY = Sampling()


class Drawing(TypedDict, total=False):
    """Fields of `Sampling` as keywords."""

    new_tokens: SupportsIndex
    temperature: SupportsFloat
    top_k: SupportsIndex
    top_p: SupportsFloat
    seed: SupportsIndex
    seeds: Indices
    edit_prompt: bool


def with_keywords(sampling: Sampling, keywords: Drawing) -> Sampling:
    """The sampling with some fields changed; raises `TypeError` for a keyword that is none of its fields."""
    known = [each.name for each in fields(Sampling)]
    if unknown := [name for name in keywords if name not in known]:
        raise TypeError(f"unknown keyword {unknown[0]!r}: give edit, attention_mask, {', '.join(known)}, or sampling")
    return replace(sampling, **keywords)
