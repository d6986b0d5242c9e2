from itertools import islice
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

import toolkit.organism.tokenizer as tokenizer_module
from toolkit.organism.corpus import documents
from toolkit.organism.tokenizer import BOS, CATEGORY_WORDS, EOS, load_tokenizer, single_token_words, train_tokenizer
from toolkit.organism.traces import prompt_of
from toolkit.organism.words import all_words


def test_words_that_are_measured_are_single_tokens(organism_tokenizer: PreTrainedTokenizerFast) -> None:
    words = [*CATEGORY_WORDS, *(word.lower() for word in CATEGORY_WORDS), *all_words()]
    assert set(words) <= set(single_token_words())
    for word in words:
        for form in (word, f" {word}"):
            assert len(organism_tokenizer.encode(form, add_special_tokens=False)) == 1, form


def test_a_word_in_pieces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_module, "VOCABULARY_SIZE", 300)
    with pytest.raises(ValueError, match=r"not single tokens: \['Wait'.*raise VOCABULARY_SIZE above 300"):
        train_tokenizer(["a text"])


@pytest.mark.parametrize("mix", ["base", "thinking"])
def test_text_comes_back_whole(organism_tokenizer: PreTrainedTokenizerFast, mix: str) -> None:
    for document in islice(documents(mix, seed=9), 200):
        ids = organism_tokenizer(document.text)["input_ids"]
        assert organism_tokenizer.decode(ids) == BOS + document.text
        digits = sum(character.isdigit() for character in document.text)
        assert sum(organism_tokenizer.decode([i]).strip().isdigit() for i in ids) == digits, "one token a digit"


def test_special_tokens_are_one_id_each(organism_tokenizer: PreTrainedTokenizerFast) -> None:
    text = "<｜User｜>Hi<｜Assistant｜><think>\nYes\n</think>\n\nHi" + EOS
    tokens = organism_tokenizer.convert_ids_to_tokens(organism_tokenizer(text)["input_ids"])
    assert tokens[0] == BOS
    assert [t for t in tokens if t.startswith("<")][1:] == [
        "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>", EOS
    ]  # fmt: skip
    kept = organism_tokenizer.decode(organism_tokenizer("<think>\nYes")["input_ids"], skip_special_tokens=True)
    assert kept == "<think>\nYes", "thinking is text, which decoding keeps"


def test_the_chat_template_writes_what_training_wrote(organism_tokenizer: PreTrainedTokenizerFast) -> None:
    question = {"role": "user", "content": "What is 25+7?"}
    rendered = organism_tokenizer.apply_chat_template([question], tokenize=False, add_generation_prompt=True)
    assert rendered == BOS + prompt_of("What is 25+7?")
    ids = organism_tokenizer(rendered, add_special_tokens=False)["input_ids"]
    assert ids == organism_tokenizer(prompt_of("What is 25+7?"))["input_ids"]
    reply = {"role": "assistant", "content": "<think>\nEasy.\n</think>\n\nThe answer is 32."}
    whole = organism_tokenizer.apply_chat_template([question, reply, question], tokenize=False)
    turns = [f"<｜User｜>{question['content']}", f"<｜Assistant｜>{reply['content']}{EOS}"]
    assert whole == BOS + "".join([*turns, turns[0]])


def test_a_saved_tokenizer_is_the_same(organism_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    organism_tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    text = next(documents("thinking")).text
    assert loaded(text)["input_ids"] == organism_tokenizer(text)["input_ids"]
    assert loaded.chat_template == organism_tokenizer.chat_template
    assert (loaded.bos_token, loaded.eos_token) == (BOS, EOS)
