import json
import os
from collections import Counter
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from tokenizers import processors
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from toolkit.harvest import word_pairs as module
from toolkit.harvest.word_pairs import (
    SHIPPED,
    WordPairs,
    load_word_pairs,
    prefix_token,
    single_tokens,
    word_rows,
    word_states,
)
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.presets import CHECKOUT
from toolkit.organism.words import PAIR_CLASSES, word_pairs

DATA = os.environ.get("TOOLKIT_TEST_DATA")
PAIRS = (("dog", "dogs"), ("œuf", "œufs"))


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def records(*pairs: tuple[object, object]) -> str:
    return json.dumps([{"input": a, "output": b} for a, b in pairs])


def test_json_csv_and_tsv_give_the_same_pairs(tmp_path: Path):
    files = [
        write(tmp_path, "a.json", records(*PAIRS)),
        write(tmp_path, "b.csv", "dog,dogs\nœuf, œufs\n"),
        write(tmp_path, "c.csv", "\ufeffinput,output\r\ndog,dogs\r\n\r\nœuf,œufs\r\n"),
        write(tmp_path, "d.tsv", 'dog\tdogs\n"œuf"\tœufs\ndog\tdogs\n'),
    ]
    expected = [WordPairs(name=Path(file).stem, pairs=PAIRS, source=Path(file)) for file in files]
    assert load_word_pairs(files) == expected
    assert load_word_pairs([str(tmp_path)]) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", records(PAIRS[0], ("cat", 3)), r"entry 2: \('cat', 3\): each row needs two words"),
        ("a.json", records(PAIRS[0], ("cat", " ")), r"entry 2"),
        ("a.json", '[{"input": "dog"}, "cat"]', r"entry 1: \{'input': 'dog'\}; entry 2: 'cat'"),
        ("a.json", '{"input": "dog"}', "holds no list"),
        ("a.json", '[{"input": ]', r"a.json is not JSON: .*line 1 column 12"),
        ("a.json", "[]", "holds no word pairs"),
        ("a.csv", "dog,dogs\n\ncat\na,b,c\n", r"line 3: \('cat',\); line 4: \('a', 'b', 'c'\)"),
        ("a.csv", "a\n" * 9, "line 3: .* and 6 more"),
        ("a.txt", "dog dogs", "not as .txt"),
    ],
)
def test_malformed_files_are_named_by_their_rows(tmp_path: Path, name: str, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        load_word_pairs([write(tmp_path, name, text)])


def test_what_is_no_source_of_pairs_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no word pairs at 'nowhere.json'"):
        load_word_pairs(["nowhere.json"])
    with pytest.raises(ValueError, match=r"holds no .json, .csv or .tsv"):
        load_word_pairs([str(tmp_path)])
    (tmp_path / "latin.csv").write_bytes("œuf,œufs".encode("utf-16"))
    with pytest.raises(ValueError, match="not UTF-8"):
        load_word_pairs([str(tmp_path)])
    with pytest.raises(ValueError, match=r"two files are named .*antonym"):
        load_word_pairs(["embedded", "everyday"])


def test_only_single_tokens_are_kept(make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.unk_token = "w0"
    pairs = (("w1", "w2"), ("w3", "w4 w5"), ("w6", "strange"), ("w7", "w7"))
    kept = single_tokens(tokenizer, WordPairs(name="test", pairs=pairs, source=Path("test.json")))
    assert kept.pairs == (("w1", "w2"), ("w7", "w7"))
    assert kept.ids.tolist() == [[1, 2], [7, 7]]
    assert kept.n_given == 4


def test_a_space_can_stand_before_each_word(organism_tokenizer: PreTrainedTokenizerFast):
    words = WordPairs(name="test", pairs=(("dog", "dogs"),), source=Path("test.json"))
    (bare,), (spaced,) = (single_tokens(organism_tokenizer, words, spaced=spaced).ids for spaced in (False, True))
    assert organism_tokenizer.batch_decode(bare[:, None]) == ["dog", "dogs"]
    assert organism_tokenizer.batch_decode(spaced[:, None]) == [" dog", " dogs"]


def test_the_embedded_pairs_are_the_organisms():
    classes = load_word_pairs(["embedded"])
    assert {words.name: list(words.pairs) for words in classes} == {name: word_pairs(name) for name in PAIR_CLASSES}
    tokenizer = load_tokenizer(str(CHECKOUT / "artifacts" / "organism" / "distilled"))
    assert [len(single_tokens(tokenizer, words).pairs) for words in classes] == [24] * len(PAIR_CLASSES)


def test_everyday_pairs_name_no_word_twice():
    for path in sorted((SHIPPED / "everyday").iterdir()):
        content = json.loads(path.read_text(encoding="utf-8"))
        (words,) = load_word_pairs([str(path)])
        assert len(words.pairs) == len(content) > 60
        counts = Counter(first for first, _ in words.pairs)
        assert [word for word, count in counts.items() if count > 1] == []


@pytest.mark.skipif(not DATA, reason="TOOLKIT_TEST_DATA names no folder with the real tokenizers and word pairs")
def test_qwens_single_tokens_are_the_published_pairs():
    tokenizer = load_tokenizer(f"{DATA}/tokenizers/qwen2.5")
    expected = {
        "english-spanish": 179,
        "english-german": 266,
        "english-french": 250,
        "present-past": 103,
        "singular-plural": 32,
    }
    classes = load_word_pairs([f"{DATA}/function_vectors/{name}.json" for name in expected])
    assert {words.name: len(single_tokens(tokenizer, words).pairs) for words in classes} == expected


@pytest.mark.skipif(not DATA, reason="TOOLKIT_TEST_DATA names no folder with the real tokenizers and word pairs")
def test_everyday_pairs_serve_real_tokenizers():
    tokenizer = load_tokenizer(f"{DATA}/tokenizers/qwen2.5")
    counts = {w.name: len(single_tokens(tokenizer, w, spaced=True).pairs) for w in load_word_pairs(["everyday"])}
    assert len(counts) == 8
    assert min(counts.values()) > 40


def test_a_table_s_rows_end_at_line_feeds_and_its_header_may_be_in_capitals(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('Input, Output\ndog,dogs\n"a\u2028b",c\u0085d\n', encoding="utf-8-sig")
    (words,) = load_word_pairs([str(path)])
    assert words.pairs == (("dog", "dogs"), ("a\u2028b", "c\u0085d"))


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
        torch.testing.assert_close(embeddings[place].cpu(), hidden(folders[1], row, 0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(states[place].cpu(), hidden(folders[1], row, 2), rtol=1e-4, atol=1e-5)


def test_without_a_prefix_a_word_is_at_position_0(tiny_pair, folders):
    (states,) = word_states(tiny_pair.base, word_rows(torch.tensor([7]), prefix=None), [2])
    torch.testing.assert_close(states[0].cpu(), hidden(folders[0], [7], 2), rtol=1e-4, atol=1e-5)


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
        torch.testing.assert_close(theirs.cpu(), ours.cpu(), rtol=1e-5, atol=1e-6)
