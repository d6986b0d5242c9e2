from itertools import islice

import pytest

from toolkit.experiments.harmonic_probes.labels import NO_BEHAVIOUR, SEED, LabelledText, planted_text, text_of_file
from toolkit.latents.categories import hesitation
from toolkit.latents.span_labels import LabelledDocument, LabelledDocuments, LabelledSpan
from toolkit.organism.corpus import documents

N, ROW_LENGTH = 12, 512


@pytest.fixture(scope="module")
def words(organism_tokenizer) -> tuple[int, ...]:
    return hesitation(organism_tokenizer).token_ids


@pytest.fixture(scope="module")
def text(organism_tokenizer, words) -> LabelledText:
    return planted_text(organism_tokenizer, N, hesitation=words, row_length=ROW_LENGTH)


@pytest.fixture(scope="module")
def truth():
    return list(islice(documents("thinking", split="held_out", seed=SEED), N))


def named(places) -> list[tuple[int, int, str]]:
    """Document, position and class of every place."""
    columns = (places.document.tolist(), places.position.tolist(), places.label.tolist())
    return [(document, position, places.classes[label]) for document, position, label in zip(*columns, strict=True)]


def ends(tokenizer, text: str) -> list[int]:
    return [end for _, end in tokenizer(text, return_offsets_mapping=True)["offset_mapping"]]


def test_tone_and_problem_are_those_of_the_whole_answer(text, truth):
    assert {(document, tone) for document, _, tone in named(text.labels["tone"])} == {
        (number, document.tone) for number, document in enumerate(truth)
    }
    assert {(document, kind) for document, _, kind in named(text.labels["problem_kind"])} == {
        (number, document.kind) for number, document in enumerate(truth)
    }


def test_places_are_all_tokens_of_the_thinking_and_no_others(text, truth, organism_tokenizer):
    expected = [
        (number, position)
        for number, document in enumerate(truth)
        for position, end in enumerate(ends(organism_tokenizer, document.text))
        if document.text.index("<think>") + len("<think>") < end <= document.text.index("</think>")
    ]
    for name in ("tone", "problem_kind", "behaviour"):
        assert [place[:2] for place in named(text.labels[name])] == expected


def test_a_behaviours_tokens_end_in_its_spans(text, truth, organism_tokenizer):
    for number, position, behaviour in named(text.labels["behaviour"]):
        end = ends(organism_tokenizer, truth[number].text)[position]
        around = [span.behaviour for span in truth[number].spans if span.start < end <= span.end]
        assert [behaviour] == (around or [NO_BEHAVIOUR])


def test_next_words_are_those_of_the_row(text, words):
    places = named(text.labels["next_is_hesitation"])
    assert {name for _, _, name in places} == {"another word", "hesitation"}
    for document, position, name in places:
        assert (text.rows[document][position + 1] in words) == (name == "hesitation")


def test_every_place_has_the_id_that_stands_there(text):
    for places in text.labels.values():
        found = zip(places.document.tolist(), places.position.tolist(), places.token_id.tolist(), strict=True)
        assert all(text.rows[document][position] == token_id for document, position, token_id in found)


def test_a_file_without_thinking_is_read_from_its_second_token_on(organism_tokenizer):
    document = LabelledDocument("red dog red cat", (LabelledSpan(8, 15, "end"),))
    labelled = LabelledDocuments(documents=(document,), labels=("end",))
    (red,) = {organism_tokenizer(" red")["input_ids"][0]}
    found = text_of_file(organism_tokenizer, labelled, hesitation=[red], row_length=ROW_LENGTH)
    n = len(found.rows[0])
    following = found.labels["next_is_hesitation"]
    assert following.position.tolist() == list(range(1, n - 1))
    assert following.label.tolist() == [int(found.rows[0][position + 1] == red) for position in range(1, n - 1)]
    assert all(position > 1 for position in found.labels["behaviour"].position.tolist())
