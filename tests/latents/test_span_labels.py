import json
import os
from pathlib import Path
from typing import Any

import pytest

from toolkit.latents.span_labels import LabelledDocument, LabelledSpan, read_labelled_documents, token_labels


@pytest.fixture
def write(tmp_path: Path):
    def write_(*records: Any) -> Path:
        path = tmp_path / "labels.jsonl"
        path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records) + "\n")
        return path

    return write_


def annotated(response: str, *sections: tuple[str, str]) -> dict[str, Any]:
    marked = " ".join(f'["{label}"]{text}["end-section"]' for label, text in sections)
    return {"response": response, "annotated_response": marked, "label_counts": {}}


def marked_text(document: LabelledDocument) -> list[tuple[str, str]]:
    return [(span.label, document.text[span.start : span.end]) for span in document.spans]


def test_plain_records_are_taken_as_they_are(write):
    spans = [{"start": 2, "end": 6, "label": "doubt"}, {"start": 7, "end": 9, "label": "sum"}]
    found = read_labelled_documents(write({"text": "A Wait 12", "spans": spans}, "", {"text": "None", "spans": []}))
    assert found.documents[0] == LabelledDocument("A Wait 12", (LabelledSpan(2, 6, "doubt"), LabelledSpan(7, 9, "sum")))
    assert found.documents[1] == LabelledDocument("None", ())
    assert found.labels == ("doubt", "sum")


def test_sections_are_found_in_the_response_whatever_its_white_space(write):
    text = "<think>\nSo, 2 + 2\n\nis 4. Hm. Wait, is it?\nHm. Yes.\n</think>"
    record = annotated(
        text,
        ("sum", "So, 2 + 2 is 4."),
        ("pause", "Hm."),
        ("doubt", " Wait,\nis it? "),
        ("pause", "Hm."),
        ("end", "Yes."),
    )
    (document,) = read_labelled_documents(write(record)).documents
    assert document.text == text
    assert marked_text(document) == [
        ("sum", "So, 2 + 2\n\nis 4."), ("pause", "Hm."), ("doubt", "Wait, is it?"), ("pause", "Hm."), ("end", "Yes."),
    ]  # fmt: skip
    starts = [span.start for span in document.spans]
    assert starts == sorted(starts), "the second Hm. is the later one"


def test_sections_that_were_rephrased_are_left_out_and_counted(write):
    record = annotated("One. Two. Three.", ("a", "One."), ("b", "Too."), ("a", "Three."), ("c", "Two."), ("d", ""))
    found = read_labelled_documents(write(record))
    assert marked_text(found.documents[0]) == [("a", "One."), ("a", "Three."), ("c", "Two.")]
    assert found.sections_left_out == 2
    assert found.labels == ("a", "c")


def test_a_section_that_is_not_closed_does_not_swallow_the_next(write):
    record = {"response": "One. Two.", "annotated_response": '["a"]One. ["b"]Two.["end-section"]["end-section"]'}
    (document,) = read_labelled_documents(write(record)).documents
    assert marked_text(document) == [("b", "Two.")]


def test_a_token_has_the_label_of_its_last_character():
    spans = (LabelledSpan(2, 5, "a"), LabelledSpan(4, 8, "b"))
    offsets = [(0, 0), (0, 2), (2, 3), (3, 5), (5, 7), (7, 9), (9, 9)]
    assert token_labels(spans, offsets) == [None, None, "a", "a", "b", None, None]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{nonsense", "line 2: it is not JSON"),
        ([1, 2], "line 2: it is not a JSON object"),
        ({"text": "abc"}, r"line 2 has fields \['text'\]"),
        ({"text": "abc", "spans": [{"start": 0, "end": 9, "label": "x"}]}, "does not fit a text of 3 characters"),
        ({"text": "abc", "spans": [{"start": 2, "end": 2, "label": "x"}]}, "does not fit a text of 3 characters"),
        ({"text": "abc", "spans": ["x"]}, "line 2: span 'x' does not fit"),
    ],
)
def test_malformed_records_are_named_by_line(write, record, message):
    good = {"text": "abc", "spans": [{"start": 0, "end": 3, "label": "x"}]}
    with pytest.raises(ValueError, match=message):
        read_labelled_documents(write(good, record))


def test_a_file_without_labels_and_a_file_that_is_not_there_are_refused(write, tmp_path):
    with pytest.raises(ValueError, match="holds no labelled spans"):
        read_labelled_documents(write({"text": "abc", "spans": []}))
    with pytest.raises(ValueError, match="cannot be read as json"):
        read_labelled_documents(tmp_path / "nothing.jsonl")


@pytest.mark.skipif("TOOLKIT_TEST_DATA" not in os.environ, reason="needs real reasoning traces in TOOLKIT_TEST_DATA")
@pytest.mark.parametrize(("model", "found", "left_out"), [("1.5b", 2726, 13), ("14b", 2179, 8)])
def test_nearly_all_sections_of_real_traces_are_found(model: str, found: int, left_out: int) -> None:
    folder = Path(os.environ["TOOLKIT_TEST_DATA"]) / "reasoning_traces"
    labelled = read_labelled_documents(folder / f"deepseek-r1-distill-qwen-{model}.jsonl")
    assert set(labelled.labels) == {
        "deduction", "adding-knowledge", "uncertainty-estimation", "backtracking", "example-testing", "initializing",
    }  # fmt: skip
    assert labelled.sections_left_out == left_out
    assert sum(len(document.spans) for document in labelled.documents) == found
    sections = [section for document in labelled.documents for section in marked_text(document)]
    turns = [text[:40] for label, text in sections if label == "backtracking"]
    others = [text[:40] for label, text in sections if label != "backtracking"]
    waits, waits_elsewhere = (sum("ait" in text for text in texts) / len(texts) for texts in (turns, others))
    assert waits > 0.6 > 4 * waits_elsewhere
    assert all(document.text.startswith("<think>") for document in labelled.documents)
