import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from toolkit import evaluate, train_crosscoder
from toolkit.harvest.harvesting import Harvest, harvest_chunks, harvest_texts

TEXTS = ["w1 w2 w3 w4 w5", "w6 w7", "w8 w9 w10 w11 w12 w13 w14 w15", "w16 w17 w18"]


def same(one: Harvest, other: Harvest) -> bool:
    names = ("ids", "documents", "positions", "activations")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def test_activations_are_the_hidden_states_of_each_text_in_the_order_given(tiny_pair, folders):
    found = harvest_texts(tiny_pair, TEXTS, outlier_factor=torch.inf)
    models = [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in folders]
    for number, text in enumerate(TEXTS):
        ids = torch.tensor([tiny_pair.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            states = [model(ids, output_hidden_states=True).hidden_states[2] for model in models]
        here = found.documents == number
        read = found.activations[here].cpu()
        torch.testing.assert_close(read, torch.stack(states, dim=2)[0, 1:], rtol=1e-4, atol=1e-5)
        assert found.ids[here].tolist() == ids[0, 1:].tolist()
        assert found.positions[here].tolist() == list(range(1, ids.shape[1]))
    assert found.documents.tolist() == sorted(found.documents.tolist())
    assert torch.equal(found["distilled"], found.activations[:, 1])
    assert found.left_out == {"position_0": 4, "outlier_norm": 0, "beyond_row_length": 0}


@pytest.mark.parametrize(
    "given",
    [
        lambda folder: (text for text in TEXTS),
        lambda folder: np.array(TEXTS),
        lambda folder: Dataset.from_dict({"text": TEXTS, "more": [1, 2, 3, 4]}),
        lambda folder: Dataset.from_dict({"text": TEXTS}).to_iterable_dataset(),
        lambda folder: Dataset.from_dict({"text": TEXTS})["text"],
        lambda folder: folder / "texts.jsonl",
        lambda folder: [[int(word[1:]) for word in text.split()] for text in TEXTS],
    ],
)
def test_texts_come_as_people_have_them(tiny_pair, tmp_path, given: Callable[[Path], object]):
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    assert same(harvest_texts(tiny_pair, given(tmp_path)), harvest_texts(tiny_pair, TEXTS))


def test_one_text_and_one_conversation_are_texts_too(tiny_pair, monkeypatch):
    assert len(harvest_texts(tiny_pair, TEXTS[0])) == 4
    monkeypatch.setattr(tiny_pair.tokenizer, "chat_template", "{% for m in messages %}{{ m.content }} {% endfor %}")
    conversation = [{"role": "user", "content": "w1 w2"}, {"role": "assistant", "content": "w3 w4 w5"}]
    for given in (
        conversation,
        [conversation],
        [{"messages": conversation}],
        [{"id": 1, "conversations": conversation}],
    ):
        assert same(harvest_texts(tiny_pair, given), harvest_texts(tiny_pair, TEXTS[0]))


@pytest.mark.parametrize("chunk_tokens", [1, 7, np.int64(1000)])
def test_chunks_are_whole_texts_and_together_what_is_read_at_once(tiny_pair, chunk_tokens):
    taken = []
    chunks = harvest_chunks(tiny_pair, (taken.append(text) or text for text in TEXTS), chunk_tokens=chunk_tokens)
    found = [next(chunks), *chunks]
    whole = harvest_texts(tiny_pair, TEXTS)
    assert torch.equal(torch.cat([chunk.documents for chunk in found]), whole.documents)
    assert torch.equal(torch.cat([chunk.ids for chunk in found]), whole.ids)
    torch.testing.assert_close(torch.cat([chunk.activations for chunk in found]), whole.activations)
    assert len(found) == {1: 4, 7: 3}.get(int(chunk_tokens), 1)
    assert sum(chunk.left_out["position_0"] for chunk in found) == 4


def test_settings_say_which_tokens_count_and_where_they_are_read(tiny_pair):
    kept = harvest_texts(tiny_pair, TEXTS, keep_position_0=True, row_length=np.int32(4), outlier_factor=torch.inf)
    assert kept.positions.tolist() == [0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 0, 1, 2]
    assert kept.left_out == {"position_0": 0, "outlier_norm": 0, "beyond_row_length": 5}
    strict = harvest_texts(tiny_pair, TEXTS, outlier_factor=1.01)
    assert 0 < strict.left_out["outlier_norm"] == len(harvest_texts(tiny_pair, TEXTS)) - len(strict)
    several = harvest_texts(tiny_pair, TEXTS, layers=[1, 3])
    assert several.streams == ("base_layer1", "base_layer3", "distilled_layer1", "distilled_layer3")
    assert torch.equal(harvest_texts(tiny_pair, TEXTS, layers=1)["base"], several["base_layer1"])


def test_texts_without_tokens_keep_their_number(tiny_pair):
    assert harvest_texts(tiny_pair, ["", TEXTS[0], "", TEXTS[1]]).documents.unique().tolist() == [1, 3]


def test_it_says_in_two_lines_what_it_is(here_pair):
    assert repr(harvest_texts(here_pair, TEXTS)).splitlines() == [
        "Harvest: 14 tokens of 4 texts × base, distilled × 32 numbers, float32 on cpu",
        "left out: 4 position_0, 0 outlier_norm, 0 beyond_row_length",
    ]


@pytest.mark.parametrize(
    ("texts", "settings", "said"),
    [
        (5, {}, "texts 5 (int): give strings, conversations, or a Path"),
        ([], {}, "no texts: give at least one"),
        (pd.DataFrame({"text": TEXTS}), {}, "texts are a DataFrame: give the column that holds them, as table['text']"),
        ([{"more": 1}], {}, "neither text nor ids"),
        (["", "w1"], {}, "the texts hold no token that counts: give texts of at least two tokens"),
        (TEXTS, {"row_length": 0}, "row_length 0, chunk_tokens 65536: give at least 1 of each"),
        (TEXTS, {"row_length": 65}, "row_length 65 exceeds the model's context of 64 tokens: lower it to that"),
        (TEXTS, {"row_length": 2.5}, "row_length 2.5 is not a whole number: give an int"),
        (TEXTS, {"outlier_factor": "10"}, "outlier_factor '10' is not a number: give a float"),
        (TEXTS, {"layers": 9}, "layer 9"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_line(tiny_pair, texts, settings, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        harvest_texts(tiny_pair, texts, **settings)


def test_what_is_harvested_is_taken_as_activations_and_names_what_is_trained_on_it(tiny_pair):
    harvest = harvest_texts(tiny_pair, TEXTS, layers=[1, 2])
    settings = {"n_latents": 64, "k": 3, "batch_tokens": 4}
    crosscoder = train_crosscoder(harvest, **settings)
    config = crosscoder.config
    assert (config.models, config.layers, config.sources) == (("base", "distilled"), (1, 2), tiny_pair.origins)
    assert train_crosscoder([harvest] * 3, **settings).config.layers == (1, 2)
    assert train_crosscoder(harvest, models=["a", "b"], **settings).config.sources == ()
    assert evaluate(crosscoder, harvest).tokens == len(harvest)
    assert torch.equal(crosscoder.encode(harvest), crosscoder.encode(harvest.activations))


def test_the_name_of_a_file_is_no_text_by_mistake(tiny_pair, tmp_path):
    (tmp_path / "w1").write_text("w1 w2")
    with pytest.raises(ValueError, match=r"also the name of a file: give Path"):
        harvest_texts(tiny_pair, str(tmp_path / "w1"))


def test_a_stream_that_there_is_not_is_refused(tiny_pair):
    with pytest.raises(ValueError, match="no stream 'control': give one of base, distilled"):
        harvest_texts(tiny_pair, TEXTS)["control"]
