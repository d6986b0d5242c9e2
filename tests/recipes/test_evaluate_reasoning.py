"""The evaluation of reasoning, as a user starts it: what it writes, how it goes on, and how it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from comparing import same
from conftest import CONFIGS
from transformers import AutoTokenizer

Call = Callable[..., str]
QUICK = "--new-tokens 8 --budgets 2 8 --n-problems 3 --device-map cpu".split()
ARMS = (
    "distilled", "base", "control", "base plainly", "distilled + steer 3 0.5", "distilled + random 0 0.5",
    "distilled + ablate 3 + set 5 1.0", "hybrid", "adapter", "adapter without 1/3 2/5",
)  # fmt: skip


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Four problems with their answers."""
    path = tmp_path / "problems.jsonl"
    path.write_text(
        "".join(json.dumps({"question": f"What is {i}+{i}?", "answer": f"{2 * i}"}) + "\n" for i in range(4))
    )
    return path


@pytest.fixture
def evaluate(
    call: Call, problems: Path, trained: Path, adapter_folder: Path, organism_folders: tuple[str, str], tmp_path: Path
) -> Call:
    """Run the recipe on the tiny pair, perhaps to an error."""
    base, distilled = organism_folders
    given = (
        *("--base", base, "--distilled", distilled, "--crosscoder", trained, "--adapter", adapter_folder),
        *("--out", tmp_path / "out", *QUICK),
    )

    def run(*changes: object, code: int | None = None) -> str:
        which = () if "--problems" in changes else ("--problems", problems)
        return call("evaluate_reasoning.py", *given, *which, *changes, code=code)

    return run


def results(folder: Path) -> dict:
    """What was found."""
    return json.loads((folder / "reasoning_evaluation.json").read_text())["results"]


def test_all_kinds_of_arms_answer_in_one_run(
    evaluate: Call, organism_control: str, problems: Path, trained: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    said = evaluate("--control", organism_control, "--arms", *ARMS)
    assert "n = 3 problems, one answer to each in each arm" in said
    content = json.loads((tmp_path / "out" / "reasoning_evaluation.json").read_text())
    found = content["results"]
    assert list(found["arms"]) == list(ARMS)
    assert list(found["paired"]) == list(ARMS[1:])
    for arm in found["arms"].values():
        assert {"accuracy", "accuracy_low", "accuracy_high", "length_median", "cut_share"} <= arm.keys()
        assert [tokens for tokens, _ in arm["budget"]] == [2, 8]
    files = content["provenance"]["sha256"]
    assert {
        str(problems),
        str(trained / "crosscoder.safetensors"),
        f"{adapter_folder}/adapter.safetensors",
    } <= files.keys()
    assert any(organism_control in file for file in files)
    assert (tmp_path / "out" / "figures" / "reasoning_evaluation_budget.png").exists()
    kept = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    free = [each for each in kept if each.get("budget", 0) is None]
    assert len(free) == 3 * len(ARMS)


def test_a_run_that_was_stopped_goes_on_to_the_same_results(evaluate: Call, tmp_path: Path) -> None:
    arms = ("--arms", "distilled", "distilled + steer 3 0.5", "--samples", "2")
    evaluate(*arms)
    whole, log = results(tmp_path / "out"), tmp_path / "out" / "answers.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:4]) + lines[4][:10])  # as a kill leaves it
    said = evaluate(*arms)
    assert f"{len(lines) - 4} written now, 3 kept" in said
    same(results(tmp_path / "out"), whole, "results")
    assert sorted(log.read_text().splitlines(keepends=True)) == sorted(lines)
    assert f"0 written now, {len(lines) - 1} kept" in evaluate(*arms)


def test_answers_of_other_settings_are_not_taken_for_these(evaluate: Call) -> None:
    evaluate("--arms", "distilled")
    said = evaluate("--arms", "distilled", "--temperature", "1", code=2)
    assert "keeps other answers (temperature 0.6 there, 1.0 here): give the settings that they were written" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budgets", "0"], "budgets 0: must be at least 1"),
        (["--budgets", "9"], "budget 9: must be from 1 to 8, the new tokens of a free answer"),
        (["--temperature", "0", "--samples", "2"], "samples 2: greedy answers are all alike"),
        (["--arms", "distilled", "teacher"], "arm 'teacher': 'teacher' stands where a model should: begin with base"),
        (["--arms", "distilled + steer 64 0.1"], "arm 'distilled + steer 64 0.1': latent 64 does not exist: the"),
        (["--arms", "adapter without 1/24"], "arm 'adapter without 1/24': latent 1/24 does not exist: the adapter has"),
        (["--arms", "control"], "arm 'control': this pair has no control: give --control a model trained further"),
        (["--new-tokens", "600"], "ask for fewer new tokens"),
        (["--n-problems", "1"], "1 problem: give at least 2, to compare arms on"),
        (["--problems", "/no/such.jsonl"], "/no/such.jsonl"),
        (
            ["--crosscoder", "/no/such", "--arms", "base + ablate 3"],
            "/no/such is neither a folder nor the name of a hub",
        ),
        (["--adapter", "/no/such", "--arms", "hybrid"], "/no/such does not exist: an adapter is a folder"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_line(
    evaluate: Call, tmp_path: Path, arguments: list[str], words: str
) -> None:
    said = evaluate(*arguments, code=2)
    assert words in said
    assert not (tmp_path / "out" / "reasoning_evaluation.html").exists()


def test_a_question_without_an_answer_is_named(evaluate: Call, problems: Path) -> None:
    problems.write_text(f'{problems.read_text().splitlines()[0]}\n{{"question": "Why?"}}\n')
    assert "(Why?) has no answer" in evaluate(code=2).replace("'", "")


def test_an_edit_of_another_width_is_refused(
    evaluate: Call, random_crosscoder: Callable[..., torch.nn.Module], tmp_path: Path
) -> None:
    random_crosscoder(layers=(1,)).save_pretrained(tmp_path / "wider")
    said = evaluate("--crosscoder", tmp_path / "wider", "--arms", "distilled + steer 3 0.1", code=2)
    assert "arm 'distilled + steer 3 0.1': the crosscoder was trained on width 32, the models" in said


def test_models_without_a_chat_template_are_refused(call: Call, save_model, problems: Path, tmp_path: Path) -> None:
    base, distilled = save_model(CONFIGS["qwen2"], seed=1), save_model(CONFIGS["qwen2"], seed=2)
    assert not AutoTokenizer.from_pretrained(distilled).chat_template
    given = ("--base", base, "--distilled", distilled, "--problems", problems, "--out", tmp_path / "out", *QUICK)
    assert "has no chat template, so that no question can be laid out" in call("evaluate_reasoning.py", *given, code=2)


def test_an_adapter_is_refused_on_ndif(evaluate: Call, ndif: object) -> None:
    assert "arm 'hybrid': " in evaluate("--arms", "distilled", "hybrid", "--remote", code=2)
