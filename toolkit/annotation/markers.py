"""The words by which a reader tells what a sentence of reasoning does, and the tokens that are under such a word."""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from toolkit.annotation.labels import Category

MARKERS: dict[Category, tuple[str, ...]] = {
    "self-reflection": ("wait", "hmm", "hold on", "actually", "mistake", "oops"),
    "verification": ("check", "checking", "verify", "verifying", "confirm", "make sure"),
    "deductive": ("therefore", "thus", "hence", "consequently", "it follows"),
    "alternative": ("alternatively", "another way", "another approach", "other way", "instead"),
    "contrastive": ("but", "however", "although", "though", "whereas"),
}
"""General English, in whatever case; more words than the lexicon has, since a reader knows more."""
_WORDS = re.compile(
    r"\b(?:" + "|".join(f"({'|'.join(map(re.escape, words))})" for words in MARKERS.values()) + r")\b", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?](?!\d)|\n")


def markers_over(tokens: Sequence[str]) -> list[Category | None]:
    """Return for each token of a text the category of the word that it is under, None for none.

    A word governs from the token before it, where a model decides for it, to the end of its sentence; of a question
    also the sentence that answers it. Of two words the later one governs.
    """
    text, ends = "".join(tokens), list(accumulate(map(len, tokens)))
    found: list[Category | None] = [None] * len(tokens)
    for match in _WORDS.finditer(text):
        category = list(MARKERS)[match.lastindex - 1] if match.lastindex else None
        first, last = bisect_right(ends, match.start()), bisect_left(ends, _reach(text, match.end()))
        if first and found[first - 1] is None:
            found[first - 1] = category
        found[first : last + 1] = [category] * (last + 1 - first)
    return found


def _reach(text: str, start: int) -> int:
    """Where the sentence ends that is going on at `start`, or the one that answers it."""
    first = _SENTENCE_END.search(text, start)
    if first is None or first[0] != "?":
        return first.end() if first else len(text)
    answer = _SENTENCE_END.search(text, first.end())
    return answer.end() if answer else len(text)


class MarkerCounts:
    """Counts tokens by the category of the word that they are under, document by document."""

    def __init__(self) -> None:
        self._counts: Counter[Category | None] = Counter()

    def add(self, tokens: Sequence[str]) -> None:
        """Count a document, given as its tokens."""
        self._counts.update(markers_over(tokens))

    def shares(self) -> dict[Category, float]:
        """Return the share of all tokens that are under a word of each category."""
        return {category: self._counts[category] / max(1, self._counts.total()) for category in MARKERS}
