"""What people hand over is read as what it is, or refused in a line."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerFast

from toolkit.models.text.inputs import as_batch, as_mask, as_rows, check_context, check_range, is_single

ROWS = [[1, 2, 3], [4, 5]]
TEXTS = ["w1 w2 w3", "w4 w5"]
PAD = 42
TEMPLATE = (
    "{% for m in messages %}{{ 'w10' if m['role'] == 'user' else 'w11' }} {{ m['content'] }} w12 {% endfor %}"
    "{% if add_generation_prompt %}w11{% endif %}"
)
QUESTION = [{"role": "user", "content": "w1 w2"}]
ANSWERED = [*QUESTION, {"role": "assistant", "content": "w3"}]


@pytest.fixture(scope="module")
def tokenizer(make_tokenizer: Callable[..., PreTrainedTokenizerFast]) -> PreTrainedTokenizerFast:
    """Its padding is a token of its own."""
    made = make_tokenizer(("<s>", "</s>", "<pad>"))
    made.pad_token, made.chat_template = "<pad>", TEMPLATE
    return made


@pytest.fixture(scope="module")
def ending(make_tokenizer: Callable[..., PreTrainedTokenizerFast]) -> PreTrainedTokenizerFast:
    """It pads with its EOS, id 41."""
    return make_tokenizer()


@pytest.mark.parametrize(
    "texts",
    [
        TEXTS, tuple(TEXTS), (text for text in TEXTS), np.array(TEXTS), np.array(TEXTS, dtype=object), pd.Series(TEXTS),
        Dataset.from_dict({"text": TEXTS})["text"], dict.fromkeys(TEXTS).keys(),
    ],
    ids=lambda texts: type(texts).__name__,
)  # fmt: skip
def test_texts_come_in_any_sequence(tokenizer: PreTrainedTokenizerFast, texts: object) -> None:
    assert as_rows(tokenizer, texts) == ROWS


@pytest.mark.parametrize("text", [TEXTS[0], np.str_(TEXTS[0]), np.array(TEXTS[0])], ids=repr)
def test_one_text_is_a_list_of_one(tokenizer: PreTrainedTokenizerFast, text: object) -> None:
    assert as_rows(tokenizer, text) == ROWS[:1]


@pytest.mark.parametrize(
    "ids",
    [
        [0, 2], (0, 2), range(0, 4, 2), torch.tensor([0, 2]), torch.tensor([0, 2], dtype=torch.int32), np.array([0, 2]),
        [torch.tensor(0), torch.tensor(2)], np.array([0, 2], dtype=object), [np.int64(0), 2], pd.Series([0, 2]),
    ],
    ids=lambda ids: type(ids).__name__,
)  # fmt: skip
def test_flat_ids_are_one_text(tokenizer: PreTrainedTokenizerFast, ids: object) -> None:
    assert as_rows(tokenizer, ids) == [[0, 2]]


@pytest.mark.parametrize(
    "ids",
    [
        ROWS, tuple(map(tuple, ROWS)), [*map(torch.tensor, ROWS)], [*map(np.array, ROWS)], pd.Series(ROWS),
        np.array([np.array(row) for row in ROWS], dtype=object), ([*row] for row in ROWS),
        {"input_ids": ROWS}, BatchEncoding({"input_ids": ROWS, "attention_mask": [[1, 1, 1], [1, 1]]}),
        [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ROWS], Dataset.from_dict({"input_ids": ROWS}),
        pd.DataFrame({"input_ids": ROWS}), [BatchEncoding({"input_ids": torch.tensor([row])}) for row in ROWS],
    ],
    ids=lambda ids: type(ids).__name__,
)  # fmt: skip
def test_rows_of_ids_are_a_text_each(tokenizer: PreTrainedTokenizerFast, ids: object) -> None:
    assert as_rows(tokenizer, ids) == ROWS


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", ["pt", "np", None])
@pytest.mark.parametrize("padding", [True, "max_length"])
def test_what_a_tokenizer_returns_is_read_under_its_mask(
    tokenizer: PreTrainedTokenizerFast, ending: PreTrainedTokenizerFast, side: str, kind: str | None, padding: object
) -> None:
    for each in (tokenizer, ending):
        returned = each(TEXTS, padding=padding, max_length=7, truncation=True, padding_side=side, return_tensors=kind)
        assert as_rows(each, returned) == ROWS
        assert as_rows(each, dict(returned)) == ROWS
        assert as_rows(each, returned["input_ids"], returned["attention_mask"]) == ROWS
        ids, mask = as_batch(each, returned)
        assert ids.tolist() == torch.as_tensor(returned["input_ids"]).tolist()
        assert mask.tolist() == torch.as_tensor(returned["attention_mask"]).tolist()
    assert as_rows(tokenizer, tokenizer(TEXTS[0])) == ROWS[:1]


def test_ids_that_only_pad_are_padding_without_a_mask_too(tokenizer: PreTrainedTokenizerFast) -> None:
    for ids in ([[1, 2, 3], [4, 5, PAD]], [[1, 2, 3], [PAD, 4, 5]]):
        assert as_rows(tokenizer, torch.tensor(ids)) == ROWS
        assert as_batch(tokenizer, np.array(ids))[1].tolist() == [[int(each != PAD) for each in row] for row in ids]
    assert as_rows(tokenizer, [1, PAD, PAD]) == [[1]]
    assert as_rows(tokenizer, [[1, PAD, 2], [3, 4, 5]]) == [[1, PAD, 2], [3, 4, 5]]  # between others it is text


def test_where_padding_could_be_text_one_at_the_end_of_all_is_text_and_else_a_mask_is_asked_for(
    ending: PreTrainedTokenizerFast,
) -> None:
    end = ending.eos_token_id
    for text in ([1, 2, end], [[1, end], [2, end]], [[1, end], [2, 3, end]], [[end, 1], [end, 2]], [[1, 2], [3, 4]]):
        rows = text if isinstance(text[0], list) else [text]
        assert as_rows(ending, text) == rows
    for unclear in ([[1, 2, 3], [4, 5, end]], [[1, 2, 3], [end, 4, 5]], [[1, end, end]]):
        for read in (as_rows, as_batch):
            with pytest.raises(ValueError, match=r"41 \('</s>'\), text to this tokenizer and padding too: give att"):
                read(ending, torch.tensor(unclear))
    assert as_rows(ending, [[1, end, end]], [[1, 1, 0]]) == [[1, end]]
    assert as_rows(ending, [1, end, end], torch.tensor([True, True, True])) == [[1, end, end]]


@pytest.mark.parametrize(
    ("messages", "answering", "text"),
    [
        (QUESTION, False, "w10 w1 w2 w12"),
        (QUESTION, True, "w10 w1 w2 w12 w11"),
        (tuple(QUESTION), True, "w10 w1 w2 w12 w11"),
        (QUESTION[0], True, "w10 w1 w2 w12 w11"),
        ({"messages": QUESTION}, True, "w10 w1 w2 w12 w11"),
        ([{"from": "human", "value": [{"type": "text", "text": "w1 w2"}]}], False, "w10 w1 w2 w12"),
        (ANSWERED, False, "w10 w1 w2 w12 w11w3 w12"),
        (ANSWERED, True, "w10 w1 w2 w12 w11w3"),
    ],
)
def test_messages_are_laid_out_by_the_template(
    tokenizer: PreTrainedTokenizerFast, messages: Any, answering: bool, text: str
) -> None:
    expected = tokenizer(text)["input_ids"]
    assert as_rows(tokenizer, messages, answering=answering) == [expected]
    assert is_single(messages)


def test_several_conversations_are_a_text_each(tokenizer: PreTrainedTokenizerFast) -> None:
    both = [QUESTION, ANSWERED]
    expected = [as_rows(tokenizer, each)[0] for each in both]
    for several in (both, (tuple(QUESTION), ANSWERED), [{"messages": each} for each in both]):
        assert as_rows(tokenizer, several) == expected
        assert not is_single(several)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "None (NoneType), is neither text nor ids: give strings, chat messages, lists or tensors of ids"),
        (5, "5 (int), is neither text nor ids"),
        (b"w1", "b'w1' (bytes), is neither text nor ids"),
        ([b"w1"], "number 0 of what is to be read, b'w1' (bytes), is neither text nor ids"),
        (["w1", None], "number 1 of what is to be read, None (NoneType), is neither text nor ids"),
        (pd.Series(["w1", None, "w2"]), "number 1 of what is to be read, nan (float)"),
        ([1.0, 2.0], "number 0 of what is to be read, 1.0 (float)"),
        (torch.tensor([1.0]), "1.0 (float)"),
        ([True], "True (bool)"),
        (torch.tensor([[True]]), "token id True is not a whole number"),
        ([[1, 2.5]], "token id 2.5 is not a whole number"),
        ([["w1"]], "token id 'w1' is not a whole number"),
        (torch.ones(1, 2, 3, dtype=torch.long), "token id [1, 1, 1] is not a whole number"),
        (["w1", 2], "the first to be read is a string, number 1 is an id: give all of one kind"),
        ([1, 2, [3]], "the first to be read is an id, number 2 is a row of ids: give all of one kind"),
        ([*QUESTION, "w1"], "the first to be read is a message, number 1 is a string"),
        ("", "no text, or a text without tokens: give each text at least one token"),
        ([], "no text"),
        (["w1", ""], "no text, or a text without tokens"),
        ([[1], []], "no text, or a text without tokens"),
        ([[]], "no text, or a text without tokens"),
        ({"input_ids": [], "attention_mask": []}, "no text"),
        (torch.empty(0, dtype=torch.long), "no text"),
        ({"text": TEXTS}, "fields ['text'] are no message and hold no input_ids: give the one that holds the texts"),
        (pd.DataFrame({"text": TEXTS}), "fields ['text'] are no message"),
        (Dataset.from_dict({"text": TEXTS}), "number 0 of what is to be read, {'text': 'w1 w2 w3'} (dict)"),
        ([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "w1"}]}], "1 parts of the messages"),
        ({"input_ids": [[1]], "position_ids": [[0]]}, "position_ids beside input_ids is not read"),
    ],
    ids=lambda value: f"{value!r:.40}",
)  # fmt: skip
def test_what_is_neither_text_nor_ids_is_said(tokenizer: PreTrainedTokenizerFast, text: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        as_rows(tokenizer, text)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[1, 1, 1], [1]], "attention_mask has another shape than the ids"),
        ([1, 1, 1], "attention_mask has another shape than the ids"),
        ([[1, 1, 1], [1, 2]], "attention_mask of row 1, [1, 2]: give 1 for tokens and 0 for padding before or after"),
        ([[1, 0, 1], [1, 1]], "attention_mask of row 0, [1, 0, 1]"),
        ([[0, 0, 0], [1, 1]], "a text without tokens"),
    ],
)
def test_a_mask_says_one_or_zero_of_each_id(tokenizer: PreTrainedTokenizerFast, mask: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        as_rows(tokenizer, ROWS, mask)
    with pytest.raises(ValueError, match="attention_mask belongs to ids"):
        as_rows(tokenizer, TEXTS, mask)


def test_a_batch_is_whole_numbers_in_rows_of_one_length(tokenizer: PreTrainedTokenizerFast) -> None:
    for ids in (
        [[0, 1]],
        torch.tensor([[0, 1]], dtype=torch.uint8),
        np.array([0, 1], dtype=np.int16),
        [torch.tensor([0, 1])],
    ):
        found, mask = as_batch(tokenizer, ids, [[True, False]])
        assert (found.tolist(), mask.tolist()) == ([[0, 1]], [[1, 0]])
        assert found.dtype == mask.dtype == torch.long
    for ids in (ROWS, None, 1, [[1.0]], torch.ones(1, 1, 1, dtype=torch.long), torch.ones(0, 2, dtype=torch.long)):
        with pytest.raises(ValueError, match="give whole numbers"):
            as_batch(tokenizer, ids)


@pytest.mark.parametrize("text", ["w1 w2", ["w1 w2", "w3"], [{"role": "user", "content": "w1 w2"}]])
def test_texts_are_tokenized_and_padded_on_the_right(tokenizer: PreTrainedTokenizerFast, text: object) -> None:
    tokenizer.chat_template = "{{ messages[0].content }}"
    ids, mask = as_batch(tokenizer, text)
    assert [row[: sum(keep)] for row, keep in zip(ids.tolist(), mask.tolist(), strict=True)] == as_rows(tokenizer, text)


def test_a_mask_may_cover_a_past_and_nothing_else(tokenizer: PreTrainedTokenizerFast) -> None:
    ids, longer = torch.tensor([[1, 2]]), torch.tensor([[1, 1, 1]])
    assert as_batch(tokenizer, ids, longer, past=True)[1] is longer
    for mask in (longer, torch.ones(2, 2, dtype=torch.long), torch.ones(1, 1, dtype=torch.long)):
        with pytest.raises(ValueError, match=re.escape(f"shape {tuple(mask.shape)} beside ids of shape (1, 2)")):
            as_batch(tokenizer, ids, mask)
    with pytest.raises(ValueError, match=r"positions holds \[1, 2\]: give 1 for tokens"):
        as_mask([[1, 2]], ids, "positions")


def test_tensors_of_the_right_type_are_taken_as_they_are(tokenizer: PreTrainedTokenizerFast) -> None:
    ids, mask = torch.tensor(ROWS[:1]), torch.ones(1, 3, dtype=torch.long)
    taken: tuple[Tensor, Tensor] = as_batch(tokenizer, ids, mask)
    assert taken[0] is ids
    assert taken[1] is mask


@pytest.mark.parametrize("token_id", [-100, 50])
def test_an_id_without_embedding_is_named(token_id: int) -> None:
    with pytest.raises(ValueError, match=f"token id {token_id} is out of range: the model has 50 embeddings"):
        check_range(torch.tensor([[0, token_id, 49]]), 50)


def test_tokens_up_to_the_context_are_read() -> None:
    check_context(64, 64)
    with pytest.raises(
        ValueError, match=r"^a text of 1,065 tokens exceeds the model's context of 1,064 tokens: cut it"
    ):
        check_context(1065, 1064)
