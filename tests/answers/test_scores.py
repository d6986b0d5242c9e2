"""Measures of answers, on answers written by hand."""

import pytest

from toolkit.answers.grading import BOXED
from toolkit.answers.records import AnswerRecord, Written
from toolkit.answers.scores import Marks, first_line, score_each

END, WAIT = "<end>", frozenset({3})


def score(token_ids: list[int], text: str, wanted: str | None = "4", closing: tuple[int, ...] = (7, 8)) -> AnswerRecord:
    written = Written(arm="a", question=0, sample=0, token_ids=tuple(token_ids), text=text)
    return score_each([written], {"a": Marks(closing=closing, ends={9: END}, hesitation=WAIT)}, [wanted])[0]


def forced(text: str, start: str, wanted: str = "4", instruction: str = "") -> AnswerRecord:
    written = Written(arm="a", question=0, sample=0, token_ids=(1, 2), text=text, budget=16)
    marks = {"a": Marks(closing=(7, 8), ends={9: END}, hesitation=WAIT)}
    return score_each([written], marks, [wanted], instruction=instruction, start=start)[0]


def test_thinking_is_measured_up_to_its_end() -> None:
    scored = score([1, 3, 7, 1, 3, 7, 8, 2, 7, 8, 9], f"hm</think>\n\nThe answer is 4.{END}")
    assert (scored.thought, scored.length, scored.tokens) == (5, 5, 11)
    assert scored.hesitation == pytest.approx(1000 * 2 / 11)
    assert scored.finished
    assert not scored.censored
    assert scored.text == "hm</think>\n\nThe answer is 4."
    assert (scored.said, scored.verdict, scored.correct) == ("4", "right", True)


def test_thinking_that_does_not_end_counts_whole_and_its_length_is_censored_where_it_was_cut() -> None:
    cut = score([1, 2, 3, 7], "The answer is 4")
    assert (cut.thought, cut.length, cut.finished, cut.censored) == (None, 4, False, True)
    assert (cut.verdict, cut.correct) == ("cut off", False)
    never_closed = score([1, 2, 9], f"The answer is 4.{END}")
    assert (never_closed.length, never_closed.finished, never_closed.censored) == (3, True, False)
    assert (never_closed.verdict, never_closed.correct) == ("unanswered", False)
    cut_behind = score([1, 7, 8, 2], "hm</think> The answer is 4.")
    assert (cut_behind.length, cut_behind.verdict, cut_behind.censored) == (1, "cut off", False)
    assert score([1, 9], f"The answer is 4.{END}", closing=()).correct is True
    empty = score([], "")
    assert (empty.length, empty.hesitation, empty.finished, empty.correct) == (0, 0.0, False, False)


@pytest.mark.parametrize(("wanted", "correct"), [("4", True), ("5", False), ("4.0", True), (None, None)])
def test_right_is_what_is_said_behind_the_thinking(wanted: str | None, correct: bool | None) -> None:
    assert score([7, 8, 1, 9], f"The answer is 5.</think> The answer is 4.{END}", wanted).correct is correct


def test_of_a_forced_answer_its_first_line_counts_and_it_need_not_have_ended() -> None:
    right = forced(" 4.\nWait, the answer is 5.", "The answer is")
    assert (right.verdict, right.budget, right.thought, right.finished) == ("right", 16, 16, False)
    assert right.text == "</think>\n\nThe answer is 4.\n"
    assert forced("\n 5.", "The answer is").verdict == "wrong"
    boxed = "**Final Answer**\n" + BOXED
    assert forced("\n4}\n\nNo: \\boxed{5}", boxed, instruction=boxed).verdict == "right"
    assert forced("4 or so, let me think", boxed, instruction=boxed).verdict == "unanswered"


def test_a_line_ends_where_no_brace_is_open() -> None:
    assert first_line(BOXED, "\\begin{matrix}\n1\\end{matrix}}\nmore") == BOXED + "\\begin{matrix}\n1\\end{matrix}}\n"
