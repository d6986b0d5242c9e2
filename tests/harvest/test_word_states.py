from copy import deepcopy
from pathlib import Path

import pytest
import torch
from tokenizers import processors
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from toolkit.harvest import word_states as module
from toolkit.harvest.word_states import prefix_token, word_rows, word_states


def without_bos(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    backend = deepcopy(tokenizer.backend_tokenizer)
    backend.post_processor = processors.Sequence([])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=tokenizer.bos_token)


def hidden(folder: Path, ids: list[int], layer: int) -> torch.Tensor:
    """The model's own hidden state at the last position."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0, -1]


def test_states_are_the_models_own(tiny_pair, folders, monkeypatch):
    monkeypatch.setattr(module, "WORDS_TOGETHER", 2)
    rows = word_rows(torch.tensor([7, 3, 7, 9]), prefix=5)
    assert rows.tolist() == [[5, 7], [5, 3], [5, 7], [5, 9]]
    embeddings, states = word_states(tiny_pair.distilled, rows, [0, 2])
    for place, row in enumerate(rows.tolist()):
        torch.testing.assert_close(embeddings[place], hidden(folders[1], row, 0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(states[place], hidden(folders[1], row, 2), rtol=1e-4, atol=1e-5)


def test_without_a_prefix_a_word_is_at_position_0(tiny_pair, folders):
    (states,) = word_states(tiny_pair.base, word_rows(torch.tensor([7]), prefix=None), [2])
    torch.testing.assert_close(states[0], hidden(folders[0], [7], 2), rtol=1e-4, atol=1e-5)


def test_the_prefix_is_what_begins_every_text_or_a_newline(make_tokenizer, organism_tokenizer):
    assert prefix_token(make_tokenizer(adds_bos=True)) == 40
    assert prefix_token(make_tokenizer(words=["w0", "w1"]), "w1") == 1
    assert organism_tokenizer.decode([prefix_token(without_bos(organism_tokenizer))]) == "\n"


def test_a_prefix_of_several_tokens_is_refused(make_tokenizer):
    with pytest.raises(ValueError, match=r"'w1 w2' is 2 tokens"):
        prefix_token(make_tokenizer(), "w1 w2")


def test_on_ndif_the_states_are_the_same(tiny_pair, ndif_tiny_pair):
    rows = word_rows(torch.tensor([7, 3, 9]), prefix=5)
    here, there = (word_states(pair.distilled, rows, [3, 0]) for pair in (tiny_pair, ndif_tiny_pair))
    for ours, theirs in zip(here, there, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-6)
