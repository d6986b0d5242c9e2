import random

import pytest

from toolkit.organism.problems import (
    HELD_OUT,
    HELD_OUT_SHARE,
    HIGHEST,
    LOWEST,
    STEPS,
    Step,
    draw_problem,
    draw_steps,
    is_held_out,
)

SPLITS = pytest.mark.parametrize("split", ["train", "held_out"])


def test_a_family_holds_out_both_directions() -> None:
    low, right = next(iter(HELD_OUT))
    assert is_held_out(low, right, minus=False)
    assert is_held_out(low + right, right, minus=True)
    assert len(HELD_OUT) == round(HELD_OUT_SHARE * (HIGHEST - LOWEST + 1) * 8)


@SPLITS
@pytest.mark.parametrize("count", [1, 4])
def test_steps_follow_from_one_another(split: str, count: int) -> None:
    rng = random.Random(0)
    for _ in range(200):
        steps = draw_steps(rng, count, split=split)
        assert [step.left for step in steps[1:]] == [step.result for step in steps[:-1]]
        assert all(LOWEST <= step.result <= HIGHEST and 2 <= step.right <= 10 for step in steps)
        assert any(step.family in HELD_OUT for step in steps) == (split == "held_out")


@pytest.mark.parametrize(
    ("step", "text", "crosses"),
    [
        (Step(left=25, right=7, minus=False), "25+7=32", True),
        (Step(left=25, right=4, minus=False), "25+4=29", False),
        (Step(left=32, right=7, minus=True), "32-7=25", True),
        (Step(left=32, right=10, minus=True), "32-10=22", False),
    ],
)
def test_a_step_knows_its_result(step: Step, text: str, crosses: bool) -> None:
    assert str(step) == text
    assert step.crosses_ten == crosses


@SPLITS
def test_answers_are_right(split: str) -> None:
    rng = random.Random(1)
    seen = set()
    for _ in range(300):
        problem = draw_problem(rng, split=split, kinds=dict.fromkeys(STEPS, 1.0))
        seen.add(problem.kind)
        assert STEPS[problem.kind][0] <= len(problem.steps) <= STEPS[problem.kind][1]
        assert problem.answer == eval(problem.expression.replace(",", ""))
        numbers = [problem.steps[0].left, *(step.right for step in problem.steps)]
        assert all(str(number) in problem.question for number in numbers)
    assert seen == STEPS.keys()
