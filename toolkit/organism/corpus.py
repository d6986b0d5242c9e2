"""The organism's corpora: document number `i` of a named mix is a pure function of mix, split, seed and `i`."""

import random
from collections.abc import Iterator
from itertools import count
from typing import Literal

from toolkit.organism.base_text import base_document
from toolkit.organism.documents import Document
from toolkit.organism.problems import Split
from toolkit.organism.traces import thinking_document

Mix = Literal["base", "distilled", "thinking"]
THINKING_SHARE: dict[Mix, float] = {"base": 0.0, "distilled": 0.8, "thinking": 1.0}


def document(index: int, *, mix: Mix, split: Split = "train", seed: int = 0) -> Document:
    """Document `index` of a mix: `base` text, the `distilled` model's reading, or `thinking` answers alone.

    No held-out document stands in training text, of any seed: it holds a held-out sum, or it thinks about a fact that
    was asked for with a cue; or it is a list of words or a story, one of more than 10¹².
    """
    rng = random.Random(f"{mix} {split} {seed} {index}")
    if rng.random() < THINKING_SHARE[mix]:
        return thinking_document(rng, split=split)
    return base_document(rng, split=split)


def documents(mix: Mix, *, split: Split = "train", seed: int = 0) -> Iterator[Document]:
    """The endless corpus."""
    return (document(index, mix=mix, split=split, seed=seed) for index in count())
