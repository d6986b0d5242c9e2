"""Accuracy at budgets of thinking, on answers whose curve is known."""

import pytest

from toolkit.answers.answering import Row
from toolkit.answers.budgets import (
    BOXED_START,
    SPOKEN_START,
    budget_grid,
    check_budgets,
    correct_at,
    curve,
    forced_row,
    start_of,
    still_thinking,
)
from toolkit.answers.questions import BOXING
from toolkit.answers.records import AnswerRecord, Verdict, Written

N = 12


def record(question: int, verdict: Verdict, *, thought: int | None = 40, budget: int | None = None) -> AnswerRecord:
    return AnswerRecord(
        arm="a",
        question=question,
        sample=0,
        text="",
        tokens=100 if thought is None else thought + 8,
        thought=thought,
        hesitations=0,
        finished=verdict != "cut off",
        said=None,
        verdict=verdict,
        budget=budget,
    )


def test_budgets_halve_from_the_limit_down() -> None:
    assert budget_grid(320) == (2, 5, 10, 20, 40, 80, 160, 320)
    assert budget_grid(32_768)[0] == 256
    assert budget_grid(3) == (1, 3)


@pytest.mark.parametrize("budget", [0, -4, 321])
def test_a_budget_out_of_range_is_refused_with_the_range(budget: int) -> None:
    with pytest.raises(ValueError, match=f"budget {budget}: must be from 1 to 320, .*: ?leave it out|leave it out"):
        check_budgets((40, budget), 320)
    check_budgets((1, 320), 320)


def test_thinking_goes_on_until_its_end_or_the_limit() -> None:
    ended = record(0, "right", thought=40)
    assert still_thinking(ended, 39)
    assert not still_thinking(ended, 40)
    cut = record(0, "cut off", thought=None)
    assert still_thinking(cut, 100)  # of 100 tokens, all of them thought
    never_closed = record(0, "unanswered", thought=None)
    assert still_thinking(never_closed, 99)
    assert not still_thinking(never_closed, 100)


def test_the_curve_is_that_of_forced_answers_until_thinking_has_ended() -> None:
    free = [record(i, "right" if i < 9 else "wrong", thought=20 if i % 2 else 60) for i in range(N)]
    forced = [record(i, "right" if i < 3 else "wrong", budget=10) for i in range(N)]
    forced += [record(i, "right" if i in (0, 10) else "wrong", budget=30) for i in range(0, N, 2)]
    points = curve(free, forced, (60, 10, 30))
    assert [point.tokens for point in points] == [10, 30, 60]
    assert [point.forced for point in points] == [12, 6, 0]
    # At 30 the odd ones below 9 are right freely (4), of the even ones 0 and 10.
    assert [point.accuracy.value for point in points] == pytest.approx([3 / N, 6 / N, 9 / N])
    assert all(point.accuracy.low < point.accuracy.value < point.accuracy.high for point in points)
    assert correct_at(free, forced, 30)[:, 0].tolist() == [1, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0]


def test_an_answer_that_is_not_known_is_left_out_of_the_curve() -> None:
    free = [record(i, "right") for i in range(8)]
    unknown = AnswerRecord(**{**vars(record(8, "right")), "verdict": None})
    assert correct_at([*free, unknown], [], 40)[8].isnan()
    assert curve([*free, unknown], [], (40,))[0].accuracy.value == 1


def test_a_forced_answer_begins_behind_the_thought_that_is_left(organism_tokenizer) -> None:
    thought = organism_tokenizer("Wait, 2 and 5 make 7.\nSo it is 7.\n", add_special_tokens=False)["input_ids"]
    free = Row(arm="a", question=1, sample=2, prompt=[5, 6], seed=9)
    written = Written(arm="a", question=1, sample=2, token_ids=tuple(thought), text="")
    line = next(n for n, token in enumerate(thought) if organism_tokenizer.decode([token]).endswith("\n"))
    behind = f"\n</think>\n\n{SPOKEN_START}"
    for budget, between in ((3, "\n"), (line + 1, "")):
        row = forced_row(free, written, budget, behind, organism_tokenizer)
        assert (row.arm, row.question, row.sample, row.prompt, row.seed, row.budget) == ("a", 1, 2, [5, 6], 9, budget)
        kept = organism_tokenizer.decode(thought[:budget])
        assert organism_tokenizer.decode(row.begun) == f"{kept}{between}</think>\n\nThe answer is"
        assert row.begun[:budget] == thought[:budget]


def test_models_that_are_asked_for_a_box_are_made_to_begin_one() -> None:
    assert start_of(BOXING) == BOXED_START
    assert start_of("") == SPOKEN_START
