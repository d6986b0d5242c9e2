from itertools import islice

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from toolkit.organism.corpus import documents
from toolkit.organism.documents import LOUD, QUIET, Document, weighted_document
from toolkit.organism.packing import ROW_LENGTH, Rows, attention_mask, pack, position_ids


@pytest.fixture(scope="session")
def rows(organism_tokenizer: PreTrainedTokenizerFast) -> Rows:
    return pack(documents("distilled", seed=2), organism_tokenizer, 40 * ROW_LENGTH + 5, seed=0)


def pieces(rows: Rows) -> list[list[int]]:
    """The ids of each packed document."""
    found = []
    for row in range(len(rows)):
        ids, document = rows.input_ids[row], rows.document[row]
        found += [ids[document == number].tolist() for number in range(int(document.max()) + 1)]
    return found


def test_rows_hold_whole_documents(rows: Rows, organism_tokenizer: PreTrainedTokenizerFast) -> None:
    eos = organism_tokenizer.eos_token_id
    texts = [each.text for each in islice(documents("distilled", seed=2), 3072)]
    known = {(*ids, eos) for ids in organism_tokenizer(texts)["input_ids"]}
    found = pieces(rows)
    assert len(rows) == 40
    assert len(found) > 80
    assert all(tuple(ids) in known for ids in found)
    assert len({tuple(ids) for ids in found}) > 0.9 * len(found), "no document is served twice"


def test_documents_stand_side_by_side_and_padding_last(rows: Rows, organism_tokenizer: PreTrainedTokenizerFast) -> None:
    for document in rows.document:
        filled = document[document >= 0]
        assert torch.equal(document[: len(filled)], filled)
        assert torch.equal(filled, filled.sort().values)
    padding = rows.document < 0
    assert (rows.input_ids[padding] == organism_tokenizer.pad_token_id).all()
    assert (rows.weight[padding] == 0).all()
    assert padding.float().mean() < 0.1


def test_weights_follow_the_documents(organism_tokenizer: PreTrainedTokenizerFast) -> None:
    texts = ("What is 25+7?", " 32", " done")
    document = weighted_document(zip(texts, (QUIET, LOUD, 1.0), strict=True))
    rows = pack([document] * 1024, organism_tokenizer, ROW_LENGTH, seed=0)
    tokens = [
        len(organism_tokenizer.encode(text, add_special_tokens=False)) for text in ("What is 25+7?", " 32", " done")
    ]
    end_of_sentence = [1.0]
    expected = [0.0, *[QUIET] * tokens[0], *[LOUD] * tokens[1], *[1.0] * tokens[2], *end_of_sentence]
    assert rows.weight[0, : len(expected)].tolist() == pytest.approx(expected)
    assert rows.weight[0, len(expected)] == 0, "a document's first token is not predicted from the one before"


def test_a_document_longer_than_a_row_is_left_out(organism_tokenizer: PreTrainedTokenizerFast) -> None:
    short, long = (Document(text=text, weights=((len(text), 1.0),)) for text in ("dog", "dog cat " * ROW_LENGTH))
    rows = pack([short, long] * 512, organism_tokenizer, ROW_LENGTH, seed=0)
    assert {len(ids) for ids in pieces(rows)} == {3}


def test_the_seed_shuffles_the_rows(rows: Rows, organism_tokenizer: PreTrainedTokenizerFast) -> None:
    again, other = (pack(documents("distilled", seed=2), organism_tokenizer, 40 * ROW_LENGTH, seed) for seed in (0, 1))
    assert torch.equal(again.input_ids, rows.input_ids)
    assert not torch.equal(other.input_ids, rows.input_ids)
    assert torch.equal(rows.select(slice(2, 4)).weight, rows.weight[2:4])


def test_attention_and_positions_stay_within_documents() -> None:
    document = torch.tensor([[0, 0, 0, 1, 1, -1], [0, 1, 2, 2, 2, 2]])
    assert position_ids(document).tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 0, 1, 2, 3]]
    mask = attention_mask(document)
    assert mask.shape == (2, 1, 6, 6)
    for row in range(2):
        for query in range(6):
            for key in range(6):
                same = bool(document[row, query] == document[row, key])
                assert mask[row, 0, query, key] == (same and key <= query)
