"""Labels of latents: a category and an explanation, and what those who annotate have to be able to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from toolkit.annotation.evidence import Evidence, Passage

Category = Literal[
    "self-reflection",
    "verification",
    "deductive",
    "alternative",
    "contrastive",
    "domain",
    "language",
    "formatting",
    "uninterpretable",
]
CATEGORIES: tuple[Category, ...] = get_args(Category)


@dataclass(frozen=True, kw_only=True)
class Label:
    """What an annotator says of a latent."""

    category: Category
    explanation: str


@dataclass(frozen=True, kw_only=True)
class Unscored:
    """Why an annotator gave no usable reply."""

    reason: str


@runtime_checkable
class Annotator(Protocol):
    """Labels latents, and applies explanations to passages. Any thread may call."""

    @property
    def name(self) -> str:
        """Who it is, as pages and label files say it."""
        ...

    def explain(self, evidence: Evidence) -> Label | Unscored:
        """Label a latent from the passages in `evidence.explaining` and from what it promotes, no others."""
        ...

    def detect(self, explanation: str, passages: Sequence[Passage]) -> list[bool] | Unscored:
        """Tell in which of the passages a latent of this explanation fires; their codes must not be looked at."""
        ...

    def fuzz(self, explanation: str, marked: Sequence[tuple[Passage, frozenset[int]]]) -> list[bool] | Unscored:
        """Tell for each passage whether the marked tokens, given by their indices, are those that fire."""
        ...
