import pytest

from toolkit.models.text.token_texts import token_texts

TEXTS = ["Sam has 12 cows.", " Wait, is it right?\n\n", "größer → 漢字 and 🙂", "montaña\nSchlüssel"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_texts_of_tokens_make_the_text_also_where_a_character_is_several_tokens(organism_tokenizer, text):
    ids = organism_tokenizer(text)["input_ids"]
    pieces = organism_tokenizer.batch_decode([[token] for token in range(len(organism_tokenizer))])
    texts = token_texts(organism_tokenizer, pieces, ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == organism_tokenizer.decode(ids)
    assert not any("\N{REPLACEMENT CHARACTER}" in each for each in texts)


def test_spaces_that_a_tokenizer_writes_between_words_are_kept(make_tokenizer):
    tokenizer = make_tokenizer()
    pieces = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    assert token_texts(tokenizer, pieces, [3, 1, 2]) == ("w3", " w1", " w2")


def test_a_character_that_is_cut_off_stands_at_the_last_token(organism_tokenizer):
    ids = organism_tokenizer("ok 漢")["input_ids"][:-1]
    pieces = organism_tokenizer.batch_decode([[token] for token in range(len(organism_tokenizer))])
    texts = token_texts(organism_tokenizer, pieces, ids)
    assert "".join(texts) == organism_tokenizer.decode(ids)
    assert len(texts) == len(ids)
