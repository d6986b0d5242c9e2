"""The tokenizers of several models are compared id by id."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.text.tokenizers import NO_TOKEN, check_same_tokens, describe_clashes, encode, well_formed

MakeTokenizer = Callable[..., PreTrainedTokenizerFast]
DATA = os.environ.get("TOOLKIT_TEST_DATA")


def test_one_tokenizer_has_no_clash(make_tokenizer: MakeTokenizer) -> None:
    assert check_same_tokens({"base": make_tokenizer(), "distilled": make_tokenizer()}) == {}


def test_special_ids_with_two_meanings_clash(make_tokenizer: MakeTokenizer) -> None:
    base = make_tokenizer(("<s>", "</s>", "<box>", "<same>"))
    distilled = make_tokenizer(("<s>", "</s>", "<think>", "<same>", "<user>"))
    assert check_same_tokens({"base": base, "distilled": distilled}) == {
        42: ("<box>", "<think>"),
        44: (NO_TOKEN, "<user>"),
    }


def test_begin_and_end_may_have_other_names(make_tokenizer: MakeTokenizer) -> None:
    assert (
        check_same_tokens({"base": make_tokenizer(("<s>", "</s>")), "distilled": make_tokenizer(("<bos>", "<eos>"))})
        == {}
    )


def test_other_ordinary_tokens_are_refused_by_name(make_tokenizer: MakeTokenizer) -> None:
    words = [f"w{i}" for i in range(39)] + ["other"]
    with pytest.raises(ValueError, match=r"differ in 1 ordinary tokens.*39 \(base 'w39', distilled 'other'\)"):
        check_same_tokens({"base": make_tokenizer(), "distilled": make_tokenizer(words=words)})


def test_another_vocabulary_size_is_refused_with_both_numbers(make_tokenizer: MakeTokenizer) -> None:
    with pytest.raises(ValueError, match="base has 42, distilled has 32 ids"):
        check_same_tokens({"base": make_tokenizer(), "distilled": make_tokenizer(words=[f"w{i}" for i in range(30)])})


def test_of_three_models_each_is_compared(make_tokenizer: MakeTokenizer) -> None:
    same, other = (make_tokenizer(("<s>", "</s>", name)) for name in ("<box>", "<think>"))
    assert check_same_tokens({"a": same, "b": same, "c": other}) == {42: ("<box>", "<box>", "<think>")}
    assert describe_clashes({42: ("x", "x", "y")}, "abc") == "42 (a 'x', b 'x', c 'y')"


def test_a_long_list_of_clashes_is_cut() -> None:
    described = describe_clashes(dict.fromkeys(range(10), ("a", "b")), ("base", "distilled"), limit=2)
    assert described == "0 (base 'a', distilled 'b'), 1 (base 'a', distilled 'b') and 8 more"


@pytest.mark.parametrize("adds_bos", [True, False])
def test_never_a_second_bos(make_tokenizer: MakeTokenizer, adds_bos: bool) -> None:
    tokenizer = make_tokenizer(adds_bos=adds_bos)
    plain = [40, 1, 2] if adds_bos else [1, 2]
    assert encode(tokenizer, ["w1 w2", "<s> w1 w2"]) == [plain, [40, 1, 2]]


@pytest.mark.skipif(not DATA, reason="TOOLKIT_TEST_DATA names no folder with the real tokenizers")
def test_qwen_and_its_r1_distillation() -> None:
    folder = Path(str(DATA)) / "tokenizers"
    named = {"base": "qwen2.5", "distilled": "r1-distill-qwen"}
    clashes = check_same_tokens({name: load_tokenizer(str(folder / each)) for name, each in named.items()})
    assert list(clashes) == list(range(151643, 151650))
    assert clashes[151644] == ("<|im_start|>", "<｜User｜>")
    assert clashes[151648] == ("<|box_start|>", "<think>")


def test_half_a_surrogate_pair_is_read_as_the_mark_for_no_character(make_tokenizer: MakeTokenizer) -> None:
    assert well_formed("a\ud800b \ud83d\ude00") == "a\ufffdb 😀"
    text = "w1 é"
    assert well_formed(text) is text
    tokenizer = make_tokenizer()
    assert encode(tokenizer, ["w1 \ud800 w2"]) == encode(tokenizer, ["w1 \ufffd w2"])
