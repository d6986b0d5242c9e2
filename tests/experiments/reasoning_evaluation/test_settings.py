"""Settings of the reasoning evaluation: what they refuse."""

from typing import Any

import pytest

from toolkit.experiments.reasoning_evaluation import ReasoningEvaluationConfig


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"budgets": (0,)}, "budgets 0: must be at least 1"),
        ({"budgets": (16, 16)}, r"budgets \(16, 16\): give each number of tokens once"),
        ({"temperature": 0.0, "samples": 4}, "samples 4: greedy answers are all alike: give a temperature above 0"),
        ({"temperature": -1.0}, "temperature -1.0: must be 0"),
        ({"top_p": 0.0}, "top_p 0.0: must be above 0"),
        ({"n_problems": 0}, "n_problems 0: must be at least 1"),
        ({"arms": ("distilled", "teacher")}, "'teacher' stands where a model should"),
        ({"arms": ("base", "base")}, "arm 'base' is given twice"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(given: dict[str, Any], told: str):
    with pytest.raises(ValueError, match=told):
        ReasoningEvaluationConfig(**given)
