"""Grades of answers, each as a careful referee would give it."""

import json
import os
from pathlib import Path

import pytest

from toolkit.answers.grading import Grade, Grader, Reply
from toolkit.answers.questions import load_questions


@pytest.fixture(scope="module")
def grader():
    with Grader(limit=30.0) as grader:
        yield grader


def grade(grader: Grader, text: str, wanted: str | None, *, ended: bool = True, thinks: bool = False) -> Grade:
    (found,) = grader.grade_each([Reply(text, wanted, ended, thinks)])
    return found


SETTLED_AT_ONCE = [
    ("33", r"\boxed{033}", "right", "number"),
    ("033", r"\boxed{33}", "right", "number"),
    ("4", r"\boxed{3} no, \boxed{4}", "right", "text"),
    ("3", r"\boxed{3} no, \boxed{4}", "wrong", "number"),
    ("4", r"\boxed{4} and \boxed{5", "right", "text"),  # the last one does not close
    ("2", r"\boxed{\boxed{2}}", "right", "text"),
    (r"\frac{\sqrt{3}}{2}", r"it is 7: \boxed{\dfrac{\sqrt{3}}{2}}, or 8", "right", "text"),
    (r"\{1,2\}", r"\boxed{\left\{2, 1\right\}}", "right", "number"),
    ("9", r"it is 9, so \boxed{}", "unanswered", None),
    ("9", "it is 9", "unanswered", None),
    ("9", r"I think that it is \boxed{9", "unanswered", None),
    ("72", "5 + 67 = 72\n#### 72", "right", "text"),
    ("1234.5", "#### $1,234.50", "right", "number"),
    ("72", "#### 72\n\nQuestion: what else?", "right", "text"),
    ("3", "#### Step 3: think\nThe sum is 3.", "unanswered", None),  # a header
    ("3", "#### Step 1: think\nThe answer is 3.", "right", "text"),
    ("3", "The answer is:\n\n\\[ 3 \\]", "right", "text"),
    ("72", "The answer is 72 clips.", "right", "number"),
    ("72", "The answer is: **72**.", "right", "text"),
    ("3.5", "The answer is 3.5. Or 4?", "right", "text"),
    ("4", "The answer is 3.5. No, the answer is 4.", "right", "text"),
    ("24", "The answer is 24 because 12*2 = 24 > 7.", "right", "text"),
    ("26", "Answer: Anna has 26 windows.", "right", "number"),
    ("72", "The answer is 71 of 72 clips, or 5.", "wrong", None),
    ("5", "The answer is not 5.", "wrong", None),
    ("12", "the answer is 12</think>\n\nNothing.", "unanswered", None),
    ("13", "The answer is 12.</think>\n\nThe answer is 13.", "right", "text"),
    (r"\frac12", r"\boxed{.5}", "right", "number"),
    ("1/2", r"\boxed{\dfrac12}", "right", "number"),
    (r"-\frac{1}{2}", r"\boxed{\frac{-1}{2}}", "right", "number"),
    (r"3\frac{1}{2}", r"\boxed{3.5}", "right", "number"),
    ("1 3/4", r"\boxed{\frac{7}{4}}", "right", "number"),
    ("1/3", r"\boxed{0.33}", "wrong", "number"),
    ("14", "The answer is 22 - 8.", "wrong", None),
    ("22-8", "The answer is 22 - 8.", "right", "text"),
    ("1/0", "The answer is 1/0", "right", "text"),
    ("1,000", r"\boxed{1000}", "right", "number"),
    ("1200", r"\boxed{1{,}200\text{ m}}", "right", "number"),
    ("1200", r"\boxed{1\,200}", "right", "text"),
    ("1200", r"\boxed{1.2}", "wrong", "number"),
    ("5000000", r"\boxed{5 million}", "right", "number"),
    ("5", r"\boxed{5 million}", "wrong", "number"),
    ("18", r"\boxed{\$18.00}", "right", "number"),
    ("18", "The answer is $18.", "right", "number"),
    (".1", r"\boxed{10\%}", "right", "number"),
    (r"50\%", r"\boxed{50}", "right", "number"),
    (r"50\%", r"\boxed{5}", "wrong", "number"),
    ("1000", r"\boxed{10\%}", "wrong", "number"),
    ("1500", r"\boxed{1.5\times 10^{3}}", "right", "number"),
    ("1500", r"\boxed{1.5e3}", "right", "number"),
    ("-7", "\\boxed{\u22127}", "right", "text"),
    ("7", r"\boxed{-7}", "wrong", "number"),
    ("-7", r"\boxed{\text{negative } 7}", "right", "text"),
    ("7", r"\boxed{7\text{ squared}}", "wrong", None),
    ("90", r"\boxed{90^{\circ}}", "right", "text"),
    (r"90^\circ", r"\boxed{90\text{ degrees}}", "right", "number"),
    ("10", r"\boxed{10\text{ cm}}", "right", "number"),
    (r"15\mbox{ cm}^2", r"\boxed{15}", "right", "number"),
    (r"10\text{ cm}", r"\boxed{10\text{ m}}", "wrong", "number"),
    ("C", r"\boxed{\text{(C)}}", "right", "letter"),
    ("C", r"\boxed{\textbf{(C)}\ 12}", "right", "letter"),
    ("C", "The answer is option C.", "right", "letter"),
    ("C", r"\boxed{D}", "wrong", "letter"),
    ("A", r"\boxed{\text{A and B}}", "wrong", "letter"),
    ("A", "The answer is a cat.", "wrong", "letter"),
    ("C", r"\boxed{12}", "wrong", "letter"),
    ("C", r"\boxed{Cat}", "wrong", "letter"),
    ("1,2", r"\boxed{1.2}", "wrong", None),
    ("1,2", r"\boxed{2\text{ and }1}", "right", "number"),
    ("(1,2)", r"\boxed{\left(1,\,2\right)}", "right", "text"),
    ("(1,2)", r"\boxed{(2,1)}", "wrong", "number"),
    ("(1,2)", r"\boxed{\{1,2\}}", "wrong", "text"),
    ("[0,1)", r"\boxed{[0, 1)}", "right", "text"),
    ("(0,1)", r"\boxed{[0,1]}", "wrong", "text"),
    ("3", r"\boxed{3, 4}", "wrong", None),
    ("3/4", r"\boxed{0.75 \text{ or } \frac34}", "right", "number"),
    ("1,1,2", r"\boxed{1,2,1}", "right", "number"),
    ("1,1,2", r"\boxed{1,2,2}", "wrong", "number"),
    ("(1,2),(3,4)", r"\boxed{(3,4), (1,2)}", "right", "number"),
    (r"x \in [-2,7]", r"\boxed{[-2,7]}", "right", "text"),
    ("5", r"\boxed{x=5}", "right", "text"),
    ("5", r"\boxed{2+3=5}", "right", "text"),
    ("5", r"\boxed{x=5 \text{ or } x=-5}", "wrong", None),
    ("5,-5", r"\boxed{x=5 \text{ or } x=-5}", "right", "number"),
    (r"(-\infty,3]", r"\boxed{x\in(-\infty,3]}", "right", "text"),
    (r"6\pi", r"\boxed{6\pi \text{ cm}^2}", "right", "text"),
    ("1 hour 20 minutes", r"\boxed{80\text{ minutes}}", "wrong", None),
    ("x=5", r"\boxed{7}", "wrong", "number"),
    (r"\text{Blue}", r"\boxed{ blue }", "right", "text"),
    ("blue", "The answer is 7.", "wrong", "text"),
    ("shells", 'The answer is "Shells."', "right", "text"),
    ("vile", r"\boxed{\text{evil}}", "wrong", "text"),  # the same product of letters
    ("5", r"\boxed{\text{I do not know}}", "wrong", None),
    ("C", r"\boxed{" + "1+" * 1000 + "1}", "wrong", None),
]


@pytest.mark.parametrize(("wanted", "text", "verdict", "settled_by"), SETTLED_AT_ONCE)
def test_most_answers_are_graded_without_algebra(wanted: str, text: str, verdict: str, settled_by: str | None) -> None:
    grader = Grader()
    found = grade(grader, text, wanted)
    assert (found.verdict, found.disputed) == (verdict, False)
    assert settled_by is None or found.settled_by == settled_by
    assert (found.reason is not None) == (verdict == "wrong" and found.settled_by is None)
    assert grader.symbolic.processes == 0


@pytest.mark.parametrize(
    ("wanted", "text", "verdict"),
    [
        (r"\sqrt{8}", r"\boxed{2\sqrt2}", "right"),
        ("(x+1)^2", r"\boxed{x^2+2x+1}", "right"),
        ("(x+1)^2", r"\boxed{x^2+2x}", "wrong"),
        ("1024", r"\boxed{2^{10}}", "right"),
        ("3, -3", r"\boxed{\pm 3}", "right"),
        ("-2+7i", r"\boxed{7i - 2}", "right"),
        (r"2\sqrt{3}", r"\boxed{\sqrt{12}\text{ cm}}", "right"),
        ("1/3", r"\boxed{0.33333333}", "right"),
        (r"\left(3, \frac{\pi}{2}\right)", r"\boxed{(3, \pi/2)}", "right"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\boxed{\begin{pmatrix}1\\4/2\end{pmatrix}}", "right"),
        ("5", r"\boxed{5x}", "wrong"),
        ("3", r"\boxed{x>=3}", "wrong"),
        ("5", r"\boxed{5xy}", "wrong"),
        ("5", r"\boxed{5!}", "wrong"),
        ("5", r"\boxed{5\pi}", "wrong"),
    ],
)
def test_algebra_is_left_to_math_verify_which_is_said(grader, wanted: str, text: str, verdict: str) -> None:
    found = grade(grader, text, wanted)
    assert (found.verdict, found.settled_by, found.reason) == (verdict, "math-verify", None)
    assert found.disputed == (verdict == "right")


def test_an_answer_that_no_parser_reads_is_wrong_with_a_reason(grader) -> None:
    found = grade(grader, r"\boxed{\frac{}{}^_}", "5")
    assert (found.verdict, found.reason) == ("wrong", "math-verify cannot read the answer")


def test_an_answer_cut_off_is_never_right(grader) -> None:
    assert grade(grader, "so 72, the answer is 72", "72", ended=False) == Grade(verdict="cut off", said=None)
    assert grade(grader, r"\boxed{72}", "72", ended=False).verdict == "cut off"


def test_a_thought_that_does_not_end_says_nothing(grader) -> None:
    assert grade(grader, r"\boxed{72}", "72", thinks=True) == Grade(verdict="unanswered", said=None)
    assert grade(grader, r"\boxed{72}</think> So 71.", "72", thinks=True).verdict == "unanswered"
    assert grade(grader, r"\boxed{71}</think>\boxed{72}", "72", thinks=True).verdict == "right"


def test_where_a_box_was_asked_for_only_a_box_counts() -> None:
    grader = Grader(boxed=True)
    assert [grade(grader, text, "72").verdict for text in ("The answer is 72.", r"\boxed{72}")] == [
        "unanswered",
        "right",
    ]


def test_a_question_without_an_answer_has_no_verdict(grader) -> None:
    assert grade(grader, r"\boxed{72}", None) == Grade(verdict=None, said="72")
    assert grade(grader, r"\boxed{72}", None, ended=False) == Grade(verdict=None, said=None)


def test_the_same_answer_is_compared_once(grader, monkeypatch) -> None:
    asked: list[tuple[str, str]] = []
    judge_each = grader.symbolic.judge_each

    def counted(pairs):
        given = list(pairs)
        asked.extend(given)
        return judge_each(given)

    monkeypatch.setattr(grader.symbolic, "judge_each", counted)
    replies = [Reply(r"\boxed{3^3}", "27", True), Reply(r"\boxed{27}", "27", True)] * 3
    grades = [*grader.grade_each(replies), *grader.grade_each(replies)]
    assert asked == [("3^3", "27")]
    assert [(each.verdict, each.disputed) for each in grades] == [("right", True), ("right", False)] * 6


@pytest.mark.skipif("TOOLKIT_TEST_DATA" not in os.environ, reason="TOOLKIT_TEST_DATA names no folder of real data")
def test_references_of_gsm8k_are_right_against_themselves_without_algebra() -> None:
    (path,) = (Path(os.environ["TOOLKIT_TEST_DATA"]) / "gsm8k").glob("*.jsonl")
    wanted = [question.answer for question in load_questions(path)]
    references = [json.loads(line)["answer"] for line in path.read_text().splitlines()]
    assert len(wanted) == len(references) == 1000
    grader = Grader()
    forms = [references, [rf"So \boxed{{{each}}}." for each in wanted], [f"The answer is {each}." for each in wanted]]
    for texts in forms:
        grades = grader.grade_each(Reply(text, each, True) for text, each in zip(texts, wanted, strict=True))
        assert {each.verdict for each in grades} == {"right"}
    shifted = grader.grade_each(
        Reply(text, each, True) for text, each in zip(references, [*wanted[1:], "-1"], strict=True)
    )
    assert sum(each.verdict == "right" for each in shifted) < 50  # a grader that takes all would fail here
    assert grader.symbolic.processes == 0
