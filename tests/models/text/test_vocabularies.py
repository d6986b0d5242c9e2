from collections.abc import Callable

import torch
from transformers import PreTrainedTokenizerFast

from toolkit.models.text.vocabularies import NO_ID, translation

WORDS = [f"w{i}" for i in range(40)]
OTHERS = ["w0", *(f"w{i}" for i in reversed(range(5, 40))), "v1", "v2"]
"""All words but w1 to w4, in another order, and two more."""


def test_tokens_are_the_same_by_their_text_and_spelling(make_tokenizer: Callable[..., PreTrainedTokenizerFast]) -> None:
    one, other = make_tokenizer(("<a>", "</a>")), make_tokenizer(("<b>", "</b>"), words=OTHERS)
    table = translation(one, other)
    names = one.convert_ids_to_tokens(range(len(one)))
    for name, theirs in zip(names, table.tolist(), strict=True):
        expected = {"<a>": "<b>", "</a>": "</b>"}.get(name, name)  # tokens that begin and end a text
        assert theirs == (NO_ID if name in WORDS[1:5] else other.convert_tokens_to_ids(expected))
    assert torch.equal(translation(one, one), torch.arange(len(one)))
