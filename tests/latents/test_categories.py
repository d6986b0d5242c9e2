import json
import os
import re
from pathlib import Path

import pytest

from toolkit.latents.categories import categories, hesitation, load_lexicon, with_tokens
from toolkit.models.files.tokenizer_files import load_tokenizer

PAPER = {
    "self-reflection": ("Wait",),
    "deductive": ("Therefore", "Thus"),
    "alternative": ("Alternatively",),
    "contrastive": ("But", "However"),
}


def test_the_shipped_lexicon_is_the_papers():
    assert load_lexicon() == PAPER


def test_words_are_expanded_to_what_is_one_token(make_tokenizer):
    tokenizer = make_tokenizer(words=["w0", "Wait", "hold", "hmm", "Hmm"])
    tokenizer.unk_token = "w0"
    lexicon = {"pause": ("wait", "Hold"), "doubt": ("hmm",)}
    pause, doubt = categories(tokenizer, lexicon)  # the words' own case does not matter, "Hold" is unknown
    assert (pause.name, pause.words) == ("pause", ("wait", "Hold"))
    assert pause.token_ids == (1, 2)
    assert [token.strip() for token in pause.tokens] == ["Wait", "hold"]
    assert doubt.token_ids == (4, 3)


def test_forms_with_and_without_a_space_are_tokens_of_their_own(organism_tokenizer):
    for category in categories(organism_tokenizer, load_lexicon()):
        assert len(category.tokens) == len(category.token_ids) == len(set(category.token_ids))
        for token, token_id in zip(category.tokens, category.token_ids, strict=True):
            assert organism_tokenizer.decode([token_id]) == token
            assert token.strip().capitalize() in PAPER[category.name]


def test_a_category_without_single_tokens_is_named(make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.unk_token = "w0"
    with pytest.raises(ValueError, match=r"category 'pause': none of ' Wait', 'Wait', ' wait', 'wait' is a single"):
        categories(tokenizer, {"pause": ("wait",)})
    both = categories(tokenizer, {"pause": ("wait",), "word": ("w5",)})
    assert [(each.name, each.tokens) for each in both] == [("pause", ()), ("word", ("w5",))]
    found, left_out = with_tokens(both)
    assert found == {"word": both[1]}
    assert re.match("category 'pause': none of .* other words", left_out["pause"])


def test_a_users_lexicon(tmp_path: Path):
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"größe": ["größer", "kleiner"]}), encoding="utf-8")
    assert load_lexicon(path) == {"größe": ("größer", "kleiner")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read as JSON"),
        ('{"a": ["b"], "a": ["c"]}', "it holds 'a' twice"),
        ('{"a": [" "]}', "at least one word"),
        ('{"a": [NaN]}', "at least one word"),
        ("[]", "holds no categories"),
        ("{}", "holds no categories"),
        ('{"a": "Wait"}', "category 'a' holds 'Wait'"),
        ('{"a": []}', "category 'a' holds"),
        ('{"a": ["Wait", ""]}', "category 'a' holds"),
        ('{"a": ["Wait", 3]}', "category 'a' holds"),
    ],
)
def test_a_malformed_lexicon_is_refused(tmp_path: Path, content: str, said: str):
    path = tmp_path / "words.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=said):
        load_lexicon(path)
    with pytest.raises(ValueError, match=r"none\.json cannot be read"):
        load_lexicon(tmp_path / "none.json")


@pytest.mark.slow
@pytest.mark.skipif("TOOLKIT_TEST_DATA" not in os.environ, reason="TOOLKIT_TEST_DATA names no folder of real data")
@pytest.mark.parametrize("name", ["qwen2.5", "r1-distill-qwen"])
def test_the_categories_of_a_real_vocabulary(name: str):
    tokenizer = load_tokenizer(str(Path(os.environ["TOOLKIT_TEST_DATA"]) / "tokenizers" / name))

    def width(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    assert (width("Wait,"), width(" Wait"), width("Wait")) == (2, 1, 1)
    found = categories(tokenizer, load_lexicon())
    assert [category.name for category in found] == list(PAPER)
    for category in found:
        naive = {
            form: tokenizer.convert_tokens_to_ids(form.replace(" ", "Ġ"))
            for word in PAPER[category.name]
            for stem in (word, word.lower())
            for form in (f" {stem}", stem)
            if form.replace(" ", "Ġ") in tokenizer.get_vocab()
        }
        assert dict(zip(category.tokens, category.token_ids, strict=True)) == naive
    assert found[0].tokens == (" Wait", "Wait", " wait", "wait")
    assert found[0].token_ids == (13824, 14190, 3783, 11489)


def test_a_lexicon_may_begin_with_a_byte_order_mark_and_its_words_with_spaces(tmp_path):
    path = tmp_path / "lexicon.json"
    path.write_text('{"pause": [" wait", "wait "]}', encoding="utf-8-sig")
    assert load_lexicon(path) == {"pause": ("wait",)}


def test_a_lexicon_without_self_reflection_counts_the_shipped_words_as_hesitation(make_tokenizer):
    tokenizer = make_tokenizer(words=["w0", "Wait", "first", "is"])
    (shipped, *_) = categories(tokenizer, load_lexicon())
    sums = categories(tokenizer, {"sums": ("first",)})
    assert hesitation(tokenizer, sums) == shipped
    own = categories(tokenizer, {"sums": ("first",), "self-reflection": ("is",)})
    assert hesitation(tokenizer, own) == own[1]
