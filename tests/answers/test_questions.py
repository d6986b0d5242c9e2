"""Questions of files."""

from pathlib import Path

import pytest

from toolkit.answers.questions import Question, load_questions


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
            Question(question="Sum?", answer="1,005"),
        ]
    )


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
