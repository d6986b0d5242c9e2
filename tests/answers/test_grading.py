import json
from pathlib import Path

import pytest

from toolkit.answers.grading import is_right, spoken_answer
from toolkit.answers.questions import Question, load_questions


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{\frac{1}{2}} it is 7", r"\frac{1}{2}"),
        (r"\boxed{3} no, \boxed{4}", "4"),
        (r"it is 7, so \boxed{\frac{\sqrt{3}}{2}}, or 8", r"\frac{\sqrt{3}}{2}"),
        (r"it is 7, so \boxed{}", ""),
        (r"\boxed{4} and \boxed{5", "4"),
        ("The answer is .5", ".5"),
        ("it is 1\u202f204", "1204"),
        ("from 7 to 12-5", "5"),
        ("it is \u22125", "-5"),
        ("5 + 67 = 72\n#### 72", "72"),
        ("#### $1,234.50", "1234.50"),
        ("The answer is 4. Or 5?", "4"),
        ("The answer is: 3.5.", "3.5"),
        ("The answer is **12**.", "12"),
        ("The answer is .5.", ".5"),
        ("the ANSWER is Blue.\nBye 3", "blue"),
        ("it makes 1,204 of -7", "-7"),
        ("12</think>\n\nit makes 13", "13"),
        ("the answer is 12</think>\n\nNothing.", "nothing"),
        ("  Perhaps.  ", "perhaps"),
        ("", ""),
    ],
)
def test_what_a_text_says(text: str, answer: str):
    assert spoken_answer(text) == answer


def test_questions_of_a_file(tmp_path: Path):
    path = tmp_path / "questions.jsonl"
    path.write_text(
        '{"question": "2+2?", "answer": 4}\n\n{"question": "Why?"}\n'
        '{"question": "Sum?", "answer": "1,000 and 5\\n#### 1,005"}\n'
    )
    once = load_questions(path)
    path.write_bytes(b"\xef\xbb\xbf" + 2 * path.read_bytes())  # a byte order mark, and each question again
    assert (
        load_questions(path)
        == once
        == [
            Question(question="2+2?", answer="4"),
            Question(question="Why?", answer=None),
            Question(question="Sum?", answer="1005"),
        ]
    )


@pytest.mark.parametrize(
    ("reference", "answer", "right", "wrong"),
    [
        (r"\frac{1}{2}", r"\frac{1}{2}", r"so \boxed{\frac{1}{2}}", "it is 2"),
        ("(3, 4)", "(3, 4)", r"\boxed{\left(3,\,4\right)}", "it is 4"),
        ("3,4", "3,4", r"\boxed{3, 4}", "it is 34"),
        ("1,200", "1200", r"\boxed{1{,}200\text{ m}}", r"\boxed{1.2}"),
        ("1200", "1200", r"\boxed{1\,200}", "it is 200"),
        ("007", "007", "it is 7", "it is 70"),
        ("50%", "50%", r"\boxed{50\%}", "it is 5"),
        (50, "50", "it is 50 %", "it is 5"),
        ("1/2", "1/2", r"\boxed{\dfrac{1}{2}}", "it is 2"),
        (r"\frac{1}{2}", r"\frac{1}{2}", "it is 0.5", "it is 1"),
        ("0.5", "0.5", "it is .5", "it is 5"),
        ("\u22127", "\u22127", "it is -7", "it is 7"),
        (0, "0", "it is 0", "it is 10"),
        ("1/0", "1/0", "The answer is 1/0", "it is 1"),
        ("5", "5", "it is 5!", r"it is 5, so \boxed{}"),
        (r"\frac{\sqrt{3}}{2}", r"\frac{\sqrt{3}}{2}", r"\boxed{\dfrac{\sqrt{3}}{2}}", "it is 2"),
        (r"\text{Blue}", r"\text{blue}", r"\boxed{ blue }", r"\boxed{red}"),
        ("3 clips", "3 clips", "The answer is 3 clips.", "The answer is 3."),
        ("The answer is 72.", "72", "it makes 72", "it makes 7"),
        ("72", "72", "The answer is 72 clips.", "The answer is 71 of 72 clips, or 5."),
        (72.0, "72.0", "The answer is $72.", "The answer is 72.5."),
        ("1,200", "1200", "The answer is 1,200 metres", "The answer is 1 metre"),
        ("-7", "-7", "it is -7.0", "it is 7"),
        ("Blue", "blue", "The answer is Blue.", "The answer is 7."),
    ],
)
def test_a_reference_is_taken_whole_and_a_number_is_met_by_the_number_said(
    tmp_path: Path, reference: str | float, answer: str, right: str, wrong: str
):
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"question": "?", "answer": reference}))
    (question,) = load_questions(path)
    assert question.answer == answer
    assert is_right(spoken_answer(right), answer)
    assert not is_right(spoken_answer(wrong), answer)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no questions"),
        ('{"question": "a"}\n{', "line 2: it is not JSON"),
        ('{"question": "a"}\n\n{"answer": 3}', "line 3 has no question"),
        ("[]", "holds no questions"),
        ("3", "line 1: it is not a JSON object"),
        ('{"question": 3}', "line 1 has no question"),
        ('{"question": " "}', "line 1 has no question"),
        ('{"question": null}', "line 1 has no question"),
        ('{"question": "a", "answer": ""}', "line 1 has an empty answer"),
        ('{"question": "a", "answer": "so \\\\boxed{}"}', "line 1 has an empty answer"),
        ('{"question": "a", "answer": [3]}', r"line 1 has \[3\] as its answer"),
        ('{"question": "a", "answer": true}', "line 1 has True as its answer"),
        ('{"question": "a", "answer": NaN}', "line 1 has nan as its answer"),
        (
            '{"question": "a", "answer": 1}\n{"question": "a", "answer": 2}',
            "line 2: 'a' came before with another answer",
        ),
    ],
)
def test_malformed_questions_are_named_by_their_line(tmp_path: Path, content: str, said: str):
    path = tmp_path / "questions.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=said):
        load_questions(path)
    with pytest.raises(ValueError, match=r"none\.jsonl cannot be read"):
        load_questions(tmp_path / "none.jsonl")
