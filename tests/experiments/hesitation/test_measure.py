"""From settings to a page, on the planted adapter; what the answers are is told by the models themselves."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.answers.answering import Writing
from toolkit.answers.questions import Question
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.hesitation import HesitationConfig
from toolkit.experiments.hesitation.interventions import intervene
from toolkit.experiments.hesitation.measure import Measured, measure, open_questions
from toolkit.experiments.hesitation.on_text import predict_without
from toolkit.experiments.hesitation.page import page
from toolkit.latents.categories import Category
from toolkit.models.text.chat import thinking_prompt

ARMS = {"output", "template", "both", "random", "matched"}
UNCHANGED = {"off": "adapter", "added": "hybrid", "transfer": "distilled"}


@pytest.fixture(scope="module")
def settings() -> HesitationConfig:
    """Settings with little of everything."""
    return HesitationConfig(tokens=2000, test=8, new_tokens=12, control_draws=2)


@pytest.fixture(scope="module")
def found(planted: AdapterRun, settings: HesitationConfig) -> Measured:
    """What is measured of the planted adapter."""
    return measure(settings, planted)


def test_every_arm_answers_as_the_model_with_its_latents_does(planted: AdapterRun, word: Category) -> None:
    models, questions = planted.models, [Question(question=f"What is {i}+1?", answer=str(i + 1)) for i in range(3)]
    arms = {"one": [((1, 3),)], "two": [((1, 3),), ((0, 5), (2, 1))]}
    writing = Writing(hesitation_ids=frozenset(word.token_ids), new_tokens=9, temperature=0.0)
    done = intervene(models, arms, questions, writing, transfer=-0.25)
    prompt = [thinking_prompt(models.tokenizer, questions[1].question)]
    for name, unchanged, changed in (
        ("off", models.adapter, models.without([(0, 5), (2, 1)])),
        ("added", models.hybrid, models.with_latents([(0, 5), (2, 1)], mlp="base")),
        ("transfer", models.distilled, models.with_latents([(0, 5), (2, 1)], mlp="distilled", scale=-0.25)),
    ):
        assert done[name].unchanged.texts[0][1] == unchanged.generate(prompt, new_tokens=9)[0]
        assert done[name].arms["two"].texts[1][1] == changed.generate(prompt, new_tokens=9)[0]
        assert done[name].arms["one"].texts[0] == done[name].arms["two"].texts[0]


def test_controls_are_as_many_as_all_hesitation_latents_in_every_draw(found: Measured) -> None:
    assert found.arms.keys() == ARMS
    assert found.left_out == {}
    for arm in ("random", "matched"):
        first, second = found.arms[arm]
        assert len(set(first)) == len(set(second)) == len(found.latents.both) == len(found.arms["both"][0])
        assert not set(first) & set(found.latents.both)
    assert found.arms["both"][0] == found.arms["output"][0] + found.arms["template"][0]


def test_results_hold_every_arm_of_every_intervention(
    settings: HesitationConfig, planted: AdapterRun, found: Measured, tmp_path: Path
) -> None:
    on_text = predict_without(planted, found.arms, found.hesitation.token_ids, read=0, tokens=300)
    findings = page(settings, planted, replace(found, on_text=on_text))
    findings.save(tmp_path)
    results = json.loads((tmp_path / "hesitation.json").read_text())["results"]
    for name, mode in UNCHANGED.items():
        assert results[name].keys() == ARMS
        for arm in results[name].values():
            assert {"hesitation_per_1k", "length", "accuracy", "finished"} <= arm.keys()
        done = found.interventions[name]
        length = float(done.arms["both"].length.mean())
        assert results[name]["both"]["length"]["value"] == pytest.approx(length)
        before = results["unchanged"][mode]["length"]["value"]
        assert results[name]["both"]["change_of_length"]["value"] == pytest.approx(length - before)
    first = results["output"]["latents"][0]
    assert (first["layer"], first["latent"]) == (1, 3)
    assert first["score"] > results["output"]["threshold"] == max(results["output"]["thresholds"].values())
    assert results["output"]["expected_by_chance"] == pytest.approx(0.01 * results["output"]["n_eligible"])
    assert len(first["promotes"]) == 5
    assert results["on_text"]["arms"].keys() == ARMS
    assert results["on_text"]["arms"]["both"]["cut"]["value"] > 0.1
    assert results["planted"] is None  # no spans are planted for these models
    assert len(results["verdicts"]) == 4


def test_where_no_latent_is_beyond_the_null_the_page_says_so(silent: AdapterRun, settings: HesitationConfig) -> None:
    found = measure(settings, silent)
    findings = page(settings, silent, found)
    assert found.arms == {}
    assert found.left_out.keys() == ARMS
    assert "no output latent is beyond the null: lower --quantile" in found.left_out["output"]
    assert findings.claims == []
    assert findings.results["off"] == {}
    assert findings.results["unchanged"]["distilled"]["length"].value > 0
    assert any(table.title == "Left out" for table in findings.tables)


def test_questions_are_those_behind_the_first_32(planted: AdapterRun, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps({"question": f"{i}+{i}?", "answer": str(2 * i)}) + "\n" for i in range(40)))
    asked = open_questions(HesitationConfig(questions=path, test=5), planted)
    assert [each.answer for each in asked] == ["64", "66", "68", "70", "72"]
    path.write_text("".join(json.dumps({"question": f"{i}?", "answer": "0"}) + "\n" for i in range(33)))
    with pytest.raises(ValueError, match="holds 33 questions, and the first 32 are left to other experiments"):
        open_questions(HesitationConfig(questions=path), planted)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("quantile", 1.0, "quantile 1.0: must be at least 0, and below 1"),
        ("transfer", 0.0, "transfer 0.0: give a finite factor other than 0"),
        ("test", 1, "test 1: must be at least 2"),
        ("temperature", -1.0, "temperature -1.0"),
        ("samples", 3, "samples 3: greedy answers are all alike"),
    ],
)
def test_settings_that_ask_for_nothing_are_refused(setting: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HesitationConfig(**{setting: value})


def test_words_of_several_tokens_are_refused(planted: AdapterRun, settings: HesitationConfig, tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"self-reflection": ["Wait, is that so"]}))
    with pytest.raises(ValueError, match=r"none of .*'Wait, is that so'.* is a single token"):
        measure(replace(settings, lexicon=path), planted)
