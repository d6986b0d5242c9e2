"""What an annotator is shown of a latent, and the passages on which its explanation is tested."""

from collections.abc import Mapping
from dataclasses import dataclass

Name = int | str
"""What a latent is called: its index, or for an adapter `layer/index`."""
FEWEST_PASSAGES = 10
"""A latent with fewer passages to explain, or to test, is left unscored."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A stretch of text, with the codes of one latent at its tokens."""

    document: int
    """Number of the document that it is from."""
    tokens: tuple[str, ...]
    codes: tuple[float, ...]
    """The latent's code at each token; all 0 in a passage in which it does not fire."""

    @property
    def text(self) -> str:
        """The passage as it is written."""
        return "".join(self.tokens)

    @property
    def largest(self) -> float:
        """The largest code."""
        return max(self.codes)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known of one latent.

    Passages to explain and passages to test come from different documents; all figures are of those to explain. `near`
    and `far` are about as many, from the same regions of documents (question, thinking, answer) as `firing`.
    """

    latent: Name
    explaining: tuple[Passage, ...]
    """Passages in which it fires, of all strengths, the strongest first."""
    firing: tuple[Passage, ...]
    """Passages in which it fires, to test an explanation on, the strongest first."""
    near: tuple[Passage, ...]
    """Passages in which it does not fire, and its closest neighbours among the latents do."""
    far: tuple[Passage, ...]
    """Other passages in which it does not fire."""
    largest: float
    """The largest code that was seen."""
    frequency: float
    """Share of tokens on which it fires."""
    promoted: tuple[tuple[str, float], ...] = ()
    """Tokens whose logits its decoder row raises most, with these logits."""
    suppressed: tuple[tuple[str, float], ...] = ()
    lifts: Mapping[str, float] | None = None
    """P(fires | token of the category, or the token before one) / P(fires), by category; the larger of the two."""
    regions: Mapping[str, float] | None = None
    """Share of its summed codes in `question`, `thinking` and `answer`."""
