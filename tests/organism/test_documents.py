import random
from itertools import pairwise

import pytest

from toolkit.organism.corpus import document
from toolkit.organism.documents import LOUD, QUIET, Document, DocumentBuilder, Span, token_behaviours, weighted_document


def test_pieces_are_joined_with_their_weights() -> None:
    joined = weighted_document([("1+1=", QUIET), ("2", LOUD)])
    assert joined == Document(text="1+1=2", weights=((4, QUIET), (5, LOUD)))


def test_a_span_starts_after_white_space() -> None:
    builder = DocumentBuilder("Q?")
    builder.add(" Yes.")
    builder.add(" Wait, no.", "self-reflection")
    builder.add(" End")
    whole = builder.finish()
    assert whole.spans == (Span(start=8, end=17, behaviour="self-reflection"),)
    assert whole.text[8:17] == "Wait, no."
    assert whole.weights == ((2, QUIET), (7, 1.0), (17, 1.0), (21, 1.0))


@pytest.mark.parametrize("index", range(20))
def test_tokens_behave_as_their_last_character(index: int) -> None:
    """Against a label for every character, on random cuts of a document into tokens."""
    whole = document(index, mix="thinking")
    labels: list[str | None] = [None] * len(whole.text)
    for span in whole.spans:
        for position in range(span.start, span.end):
            labels[position] = span.behaviour
    cuts = [0, *sorted(random.Random(index).sample(range(1, len(whole.text)), 40)), len(whole.text)]
    offsets = [(0, 0), *pairwise(cuts)]
    assert token_behaviours(whole, offsets) == [None, *(labels[end - 1] for end in cuts[1:])]
