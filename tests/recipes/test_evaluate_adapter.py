"""The evaluation of an adapter, as a user starts it: what it writes and says, and how it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., str]
QUICK = "--tokens 400 --test 3 --new-tokens 4 --device-map cpu".split()


@pytest.mark.slow
def test_an_adapter_is_evaluated(call: Call, adapter_folder: Path, text_file: Path, tmp_path: Path) -> None:
    given = ("--run", adapter_folder, "--data", text_file, "--out", tmp_path / "out", "--sweep", adapter_folder)
    said = call("evaluate_adapter.py", *given, *QUICK, "--temperature", "0.6", "--samples", "2")
    assert "3 questions, temperature 0.6, 2 of each question, the same seeds for all models" in said
    content = json.loads((tmp_path / "out" / "adapter_evaluation.json").read_text())
    found = content["results"]
    for name in ("accuracy", "length", "hesitation_per_1k"):
        assert found[name].keys() == {"base", "hybrid", "adapter", "distilled"}
        assert found[name]["adapter"].keys() >= {"value", "low", "high"}
    assert found["l0"]["value"] > 0
    assert found["kl"]["value"] > 0
    assert len(found["nmse"]) == len(found["nmse_without_sink"]) == 3
    assert found["partial"]["first k"][0]["value"] == 0
    assert [each["kl"] for each in found["sweep"]] == 2 * [found["kl"]]
    assert f"{adapter_folder}/adapter.safetensors" in content["provenance"]["sha256"]
    assert (tmp_path / "out" / "figures" / "adapter_evaluation_partial_replacement.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run", "/no/such"], "/no/such"),
        (["--sweep", "/no/such"], "/no/such"),
        (["--test", "1"], "test 1: must be at least 2"),
        (["--samples", "3"], "greedy answers are all alike"),
        (["--new-tokens", "600"], "fewer new tokens"),
        (["--questions", "/no/such.jsonl"], "/no/such.jsonl"),
        (["--base", "/no/such", "--distilled", "/no/such"], "/no/such"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_line(
    call: Call, adapter_folder: Path, text_file: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    given = ("--run", adapter_folder, "--data", text_file, "--out", tmp_path / "out", *QUICK, *arguments)
    assert words in call("evaluate_adapter.py", *given, code=2)
