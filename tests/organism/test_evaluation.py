from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch

from toolkit.organism.base_text import solution_prompt
from toolkit.organism.corpus import documents
from toolkit.organism.evaluation import (
    CATEGORIES,
    OrganismModel,
    accuracy,
    behaviour_rates,
    direct_answers,
    final_answer,
    held_out_problems,
    solution_answers,
    thinking_answers,
    undecided_positions,
    word_geometry,
)
from toolkit.organism.problems import HELD_OUT
from toolkit.organism.tokenizer import EOS
from toolkit.organism.words import PAIR_CLASSES


@pytest.fixture(scope="session")
def organism(save_organism_model: Callable[..., str]) -> OrganismModel:
    return OrganismModel.load(Path(save_organism_model(seed=8)))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Easy.\n</think>\n\nThe answer is 32." + EOS, "32"),
        ("So the answer is 31.\n</think>\n\nThe answer is perro.", "perro"),
        ("Therefore, the answer is 31.", ""),
        ("</think>\n\nThe answer is 3", ""),
        ("", ""),
    ],
)
def test_the_final_answer_stands_after_the_thinking(text: str, answer: str) -> None:
    assert final_answer(text) == answer


def test_accuracy_is_the_share_that_agrees() -> None:
    found = accuracy(["1", "2", "x"], ["1", "3", "x"])
    assert found["value"] == pytest.approx(2 / 3)
    assert 0 < found["low"] < found["value"] < found["high"] < 1


@pytest.mark.parametrize(
    ("continuation", "answer"),
    [
        (" 25+7-2. 25+7=32. 32-2=30.\nAnswer: 30" + EOS, "30"),
        (" 25+7. 25+7=32.\nAnswer: 32" + EOS + "\nAnswer: 40", "32"),
        (" 25+7. 25+7=32.", ""),
    ],
)
def test_a_worked_solution_ends_with_its_answer(
    continuation: str, answer: str, organism: OrganismModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def generate(self: OrganismModel, prompts: list[str], **_: object) -> list[str]:
        asked.extend(prompts)
        return [continuation]

    monkeypatch.setattr(OrganismModel, "generate", generate)
    assert solution_answers(organism, ["What is 25+7?"]) == [answer]
    written = next(each.text for each in documents("base") if "Solution:" in each.text)
    assert asked == ["Question: What is 25+7?\nSolution:"]
    assert written.startswith(solution_prompt(written.removeprefix("Question: ").partition("\n")[0]))


def test_rates_count_answers_and_words() -> None:
    rates = behaviour_rates([f"Wait, a. Wait, b. But c. However d.{EOS}", f"Thus e.{EOS}", "Therefore", "-"], EOS)
    assert rates == {
        "finished": 0.5, "waits_per_answer": 0.5, "share_self-reflection": 0.25, "share_deductive": 0.5,
        "share_alternative": 0.0, "share_contrastive": 0.25,
    }  # fmt: skip


def test_every_evaluation_problem_is_held_out() -> None:
    problems = held_out_problems(100)
    assert problems == held_out_problems(100) != held_out_problems(100, seed=1)
    assert all(any(step.family in HELD_OUT for step in problem.steps) for problem in problems)


def test_greedy_answers_are_each_prompts_own(organism: OrganismModel) -> None:
    """Against argmax decoding of one prompt at a time: padding on the left is of no account."""
    prompts = ["Question: What is 25+7?\nAnswer:", "dog"]
    for prompt, found in zip(prompts, organism.generate(prompts, new_tokens=4), strict=True):
        ids = organism.tokenizer(prompt, return_tensors="pt")["input_ids"]
        length = ids.shape[1]
        for _ in range(4):
            ids = torch.cat([ids, organism.model(ids).logits[:, -1:].argmax(dim=-1)], dim=1)
        assert found == organism.tokenizer.decode(ids[0, length:])


def test_sampling_follows_its_seed(organism: OrganismModel) -> None:
    first, again, other = (organism.generate(["dog"], temperature=1.0, seed=s, new_tokens=8) for s in (1, 1, 2))
    assert first == again != other
    assert len(thinking_answers(organism, ["What is 1+1?"], temperature=0.6)) == 1
    assert all(EOS not in answer for answer in direct_answers(organism, ["What is 1+1?"] * 2))


def test_undecided_positions_are_counted(organism: OrganismModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against one document at a time, with bounds that a random model's probabilities straddle."""
    bounds = (1e-4, 1e-3)
    monkeypatch.setattr("toolkit.organism.evaluation.UNDECIDED", bounds)
    expected = dict.fromkeys(CATEGORIES, 0)
    for document in islice(documents("thinking", split="held_out", seed=17), 64):
        ids = organism.tokenizer(document.text, return_tensors="pt")["input_ids"]
        probability = organism.model(ids).logits.detach().softmax(dim=-1)[0]
        for position, token in enumerate(ids[0, 1:].tolist()):
            word = organism.tokenizer.decode([token]).strip()
            for name, words in CATEGORIES.items():
                expected[name] += word in words and bounds[0] <= float(probability[position, token]) <= bounds[1]
    found = undecided_positions(organism, 64)
    assert sum(expected.values()) > 10
    assert {name: abs(found[name] - expected[name]) <= 1 for name in CATEGORIES} == dict.fromkeys(CATEGORIES, True)


def test_geometry_reads_every_class_of_pairs(organism: OrganismModel) -> None:
    losses = word_geometry(organism, layer=1, dims=4)
    assert losses.keys() == PAIR_CLASSES.keys()
    assert all(loss.ratio > 0 for loss in losses.values())
    ids = organism.tokenizer("dog", return_tensors="pt")["input_ids"]
    state = organism.model(ids, output_hidden_states=True).hidden_states[2][0, 1].detach()
    torch.testing.assert_close(organism.word_residuals(["dog", "cat"], 2)[0], state)
