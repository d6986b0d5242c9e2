"""Steered models answer the first questions of a file to pick directions on, and the next to test them on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolkit.answers.questions import Question
from toolkit.experiments.steering import SteeringConfig
from toolkit.experiments.steering.questions import check_prompts, open_questions


def ask(path: Path, n: int, **changes: Any) -> SteeringConfig:
    """Settings for a file of `n` questions."""
    path.write_text("".join(json.dumps({"question": f"{i}+{i}?", "answer": str(2 * i)}) + "\n" for i in range(n)))
    return SteeringConfig(**{"questions": path, "development": 2, "test": 5} | changes)


def test_prompts_that_the_base_model_reads_as_other_ids_are_refused(tiny_pair):
    pair = replace(tiny_pair, clashing_ids={7: ("w7", "w8")})
    asked = [Question(question=text, answer=None) for text in ("w1 w2", "w7 w1")]
    check_prompts(pair, asked[:1])
    check_prompts(tiny_pair, asked)
    with pytest.raises(ValueError, match=r"mean different things to the models: 7 \(base 'w7', distilled 'w8'\)"):
        check_prompts(pair, asked)


def test_questions_are_the_first_to_pick_on_and_the_next_to_test_on(tiny_pair, tmp_path):
    development, test = open_questions(ask(tmp_path / "q", 9, test=4), tiny_pair)
    assert [each.answer for each in development] == ["0", "2"]
    assert [each.answer for each in test] == ["4", "6", "8", "10"]
    _, test = open_questions(ask(tmp_path / "q", 4), tiny_pair)
    assert len(test) == 2  # of the five asked for


def test_too_few_questions_are_refused(tiny_pair, tmp_path):
    with pytest.raises(ValueError, match="holds 3 questions, and --development 2 leaves 1 to test on, where two"):
        open_questions(ask(tmp_path / "q", 3), tiny_pair)
