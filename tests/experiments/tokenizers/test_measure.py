import json
import math
import zlib
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from toolkit.experiments.tokenizers import TokenizerEvaluationConfig
from toolkit.experiments.tokenizers.measure import (
    measure,
)
from toolkit.experiments.tokenizers.page import page
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.reports.files import write_results

TEXTS = ["Wait, is 5+7=12 right?", "<｜begin▁of▁sentence｜>Ça va, thus — <think>fine</think>", "Therefore 12.", ""]
START = "<｜begin▁of▁sentence｜>"


@pytest.fixture
def text(tmp_path) -> Path:
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS for _ in range(20)))
    return path


@pytest.fixture
def config(text, organism_folders):
    def make(**changes) -> TokenizerEvaluationConfig:
        return TokenizerEvaluationConfig(**({"models": organism_folders, "data": str(text)} | changes))

    return make


def bits(folder: str, ids: list[int]) -> float:
    """−log2 p of all ids but the first, one at a time."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        log_p = model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
    return -sum(float(log_p[i, token]) for i, token in enumerate(ids[1:])) / math.log(2)


def test_bits_for_every_byte_after_the_start(config, organism_folders, organism_tokenizer):
    found = measure(config())
    texts = [text.removeprefix(START) for text in TEXTS[:3] for _ in range(20)]  # the empty ones are left out
    assert found.n_bytes.tolist() == [len(text.encode()) for text in texts]
    assert found.text == "read whole: read 60 whole; left out 20 no text"
    for reading, folder in zip(found.readings, organism_folders, strict=True):
        each = {text: bits(folder, organism_tokenizer(text)["input_ids"]) for text in set(texts)}
        expected = [each[text] for text in texts]
        torch.testing.assert_close(reading.bits, torch.tensor(expected).double(), rtol=1e-5, atol=1e-4)
        assert (reading.added, reading.unknown) == (40, 0)
    whole = "".join(texts).encode()
    assert found.origin["files"].keys() == {config().data}
    assert found.zlib_bits == pytest.approx(8 * len(zlib.compress(whole, 9)) / len(whole))


def test_another_tokenizer_reads_the_same_bytes(config, organism_folders, save_organism_model):
    bytewise = save_organism_model(seed=9)
    file = Path(bytewise) / "tokenizer.json"
    core = json.loads(file.read_text())
    core["model"]["merges"] = []  # a token a byte
    file.write_text(json.dumps(core))
    found = measure(config(models=(organism_folders[0],), tokenizers=(bytewise,)))
    own, other = found.readings
    assert other.name == f"{own.name}, tokenizer of {Path(bytewise).name}"
    assert other.tokens.sum() > own.tokens.sum()
    assert other.tokens[0] == found.n_bytes[0]  # ASCII without added tokens
    tokenizer = load_tokenizer(bytewise)
    assert float(other.bits[0]) == pytest.approx(bits(organism_folders[0], tokenizer(TEXTS[0])["input_ids"]), rel=1e-4)


def test_findings(config, tmp_path):
    settings = config()
    found = measure(settings)
    findings = page(settings, None, found)
    write_results(tmp_path / "results.json", findings.results)
    results = json.loads((tmp_path / "results.json").read_text())
    first, second = found.readings
    total = float(found.n_bytes.sum())
    assert findings.headline[1].value.value == pytest.approx(float(second.bits.sum()) / total)
    difference = findings.tables[0].rows[1][2]
    assert difference.value == pytest.approx(float((second.bits - first.bits).sum()) / total)
    assert difference.low < difference.value < difference.high
    nats = float(second.bits.sum()) * math.log(2) / float(second.tokens.sum())
    assert results["readings"][1]["nats_per_token"]["value"] == pytest.approx(nats)
    assert results["bytes"] == total


def test_texts_are_cut_by_characters_and_counted(config):
    found = measure(config(characters=2, documents=21))
    assert found.n_bytes.tolist() == [2] * 20 + [3]  # "Wa", "Ça"
    assert found.text == "read whole: read 21 cut"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ()}, "models names none"),
        ({"documents": 1}, "documents 1: must be at least 2"),
        ({"characters": 0}, "characters 0: must be at least 1"),
        ({"data": "/no/such.jsonl"}, "no file at /no/such.jsonl"),
        ({"models": ("/no/such/model",)}, "/no/such/model"),
    ],
)
def test_impossible_settings_are_refused(config, changes, message):
    with pytest.raises(ValueError, match=message):
        measure(config(**changes))


def test_too_long_and_too_few_texts_are_refused(config, text, save_organism_model):
    short = save_organism_model(seed=3, max_position_embeddings=8)
    with pytest.raises(ValueError, match=r"exceeds the model's context of 8.*--characters cuts texts"):
        measure(config(models=(short,)))
    text.write_text('{"text": "one"}\n')
    with pytest.raises(ValueError, match="holds 1 texts, read whole: an interval needs at least two"):
        measure(config())


def test_a_tokenizer_without_a_start_is_refused(config, save_organism_model):
    folder = Path(save_organism_model(seed=4))
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).exists():
            content = json.loads((folder / name).read_text())
            (folder / name).write_text(
                json.dumps({k: v for k, v in content.items() if k not in ("bos_token", "eos_token")})
            )
    with pytest.raises(ValueError, match="has neither a BOS nor an end-of-text token"):
        measure(config(models=(str(folder),)))
