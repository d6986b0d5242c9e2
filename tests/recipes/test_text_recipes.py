"""The recipes about text and models, as a user starts them: what they write and say, and how they refuse."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

Call = Callable[..., str]


def written(folder: Path, name: str) -> dict:
    assert (folder / f"{name}.html").read_text().startswith("<!doctype html>")
    assert list((folder / "figures").glob(f"{name}_*.png"))
    return json.loads((folder / f"{name}.json").read_text())


def test_prepare_data(call: Call, organism_folders: tuple[str, str], tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    turns = [{"from": "user", "value": "2+2?"}, {"from": "assistant", "value": "<think>2, 3</think>4"}]
    records.write_text((json.dumps({"system": "", "conversations": turns}) + "\n") * 30)
    base, distilled = organism_folders
    models = ("--base", base, "--distilled", distilled)
    said = call("prepare_data.py", "--data", records, "--out", tmp_path / "out", "--held-out", "0", *models)
    content = written(tmp_path / "out", "prepared_data")
    assert content["results"]["tokens"]["all"]["texts"] == 30
    assert content["provenance"]["sha256"].keys() == {str(records)}
    assert (tmp_path / "out" / "train.jsonl").read_text().count("2+2?\\n\\n<think>2, 3</think>4") == 30
    assert "gave a text 30" in said


def test_layer_divergence(call: Call, organism_folders: tuple[str, str], text_file: Path, tmp_path: Path) -> None:
    base, distilled = organism_folders
    control = shutil.copytree(base, tmp_path / "control")
    weights = load_file(control / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"].mul_(2)  # which the inputs of layers 0 and 1 do not depend on
    save_file(weights, control / "model.safetensors", metadata={"format": "pt"})
    models = ("--base", base, "--distilled", distilled, "--control", control, "--data", text_file)
    said = call("layer_divergence.py", *models, "--tokens", "500", "--out", tmp_path / "out")
    results = written(tmp_path / "out", "layer_divergence")["results"]
    assert results["tokens"] == 500
    *before, after = results["control"]["distance"]["mean"]
    assert before == [0, 0]
    assert after > 0
    assert f"layer of smallest cosine {results['distilled']['cosine']['farthest']} 500 tokens" in said


def test_evaluate_tokenizers(call: Call, organism_folders: tuple[str, str], text_file: Path, tmp_path: Path) -> None:
    arguments = ("--models", *organism_folders, "--data", text_file, "--documents", "5", "--out", tmp_path)
    said = call("evaluate_tokenizers.py", *arguments)
    content = written(tmp_path, "tokenizer_evaluation")
    assert len(content["results"]["readings"]) == 2
    assert len(content["provenance"]["sha256"]) == 2
    assert f"n = {content['results']['bytes']:,} bytes of 5 documents" in said


@pytest.mark.parametrize(
    ("recipe", "arguments", "parts"),
    [
        ("prepare_data.py", [], ["--data", "required"]),
        ("prepare_data.py", ["--data", "/no/such.jsonl"], ["no file at /no/such.jsonl", "give a path"]),
        ("prepare_data.py", ["--data", "a", "--held-out", "1"], ["held_out 1.0", "below 1"]),
        ("prepare_data.py", ["--data", "a", "--part", "question"], ["question", "both", "answer"]),
        ("prepare_data.py", ["--data", "a", "--base", "b"], ["the name of a pair, or both"]),
        ("prepare_data.py", ["--data", "a", "--pair", "qwen"], ["no pair is called 'qwen'", "qwen-1.5b"]),
        ("layer_divergence.py", ["--tokens", "0"], ["tokens 0", "at least 1"]),
        ("layer_divergence.py", ["--run", "a"], ["Unrecognized options", "--run"]),
        ("harmonic_probes.py", ["--labels", "mood"], ["no label is called 'mood'", "next_is_hesitation"]),
        ("harmonic_probes.py", ["--layers", "9"], ["layer 9 is out of range", "0 to 5"]),
        ("harmonic_probes.py", ["--model", "teacher"], ["no model is called that", "base, distilled"]),
        ("harmonic_probes.py", ["--documents", "10"], ["10 labelled documents", "give 32 or more"]),
        ("evaluate_tokenizers.py", ["--documents", "1"], ["documents 1", "at least 2"]),
        ("evaluate_tokenizers.py", ["--models", "nobody/none"], ["nobody/none", "HF_HUB_OFFLINE", "path"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_refused(call: Call, recipe: str, arguments: list[str], parts: list[str]) -> None:
    said = call(recipe, *arguments, code=2)
    assert [part for part in parts if part not in said] == []
