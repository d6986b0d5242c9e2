"""Collects passages of latents from one pass over text, to explain the latents and to test explanations."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from toolkit.annotation.evidence import Evidence, Name
from toolkit.annotation.subjects import Subjects
from toolkit.latents.categories import Category
from toolkit.latents.coded_batches import CodedBatch


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Evidence of latents, and of how much text it is."""

    evidence: Mapping[Name, Evidence]
    unscored: Mapping[Name, str]
    """Why a latent has no evidence: too few passages in which it fires, or in which it does not."""
    tokens: int
    """Tokens that were read."""
    documents: int


def gather(
    batches: Iterable[CodedBatch],
    subjects: Subjects,
    tokenizer: PreTrainedTokenizerBase,
    *,
    categories: Sequence[Category] = (),
    seed: int = 0,
) -> Gathered:
    """Read batches, such as `run.coded(tokens)`, once, and return evidence of each latent.

    Memory does not depend on how much text is read.
    """
    raise NotImplementedError
