"""The passages on which an explanation is tested, in the order in which an annotator sees them."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from toolkit.annotation.evidence import Evidence, Passage

Test = Literal["detection", "fuzzing"]
TESTS: tuple[Test, ...] = get_args(Test)
MARKED = 0.3
"""Tokens whose codes reach this share of the passage's largest count as those that fire."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A passage that an annotator is asked of."""

    passage: Passage
    truth: bool
    """Whether the latent fires in it, or, of marked tokens, whether they are those on which it fires."""
    marked: frozenset[int] = frozenset()
    """Indices of the marked tokens; none in detection."""


def trials(test: Test, evidence: Evidence, chance: Random) -> list[Trial]:
    """Return the passages of one test, shuffled."""
    found = list(_detection(evidence) if test == "detection" else _fuzzing(evidence, chance))
    chance.shuffle(found)
    return found


def _detection(evidence: Evidence) -> Iterator[Trial]:
    for passage in evidence.firing:
        yield Trial(passage=passage, truth=True)
    for passage in (*evidence.near, *evidence.far):
        yield Trial(passage=passage, truth=False)


def _fuzzing(evidence: Evidence, chance: Random) -> Iterator[Trial]:
    """Of each two passages of like strength, mark one truly and the other falsely.

    A passage with too few silent tokens for as many false marks takes no part.
    """
    marks = ((passage, *_marks(passage)) for passage in evidence.firing)
    fit = [(passage, fires, silent) for passage, fires, silent in marks if len(silent) >= len(fires)]
    for first in range(0, len(fit) - 1, 2):
        truths = chance.sample([True, False], 2)
        for (passage, fires, silent), truth in zip(fit[first : first + 2], truths, strict=True):
            marked = fires if truth else chance.sample(silent, len(fires))
            yield Trial(passage=passage, truth=truth, marked=frozenset(marked))


def _marks(passage: Passage) -> tuple[list[int], list[int]]:
    """Indices of tokens that fire strongly, and of the others."""
    least = MARKED * passage.largest
    strong = [index for index, code in enumerate(passage.codes) if code >= least]
    return strong, [index for index in range(len(passage.codes)) if index not in strong]
