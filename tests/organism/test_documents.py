from toolkit.organism.documents import LOUD, QUIET, Document, DocumentBuilder, Span, weighted_document


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
