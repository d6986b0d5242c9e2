"""Questions of files."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
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


SHAPES: list[tuple[dict[str, object], str | None]] = [
    ({"question": "2+2?", "answer": "so 4\n#### 4"}, "4"),
    ({"problem": "2+2?", "solution": r"It is $\boxed{4}$.", "answer": "4"}, "4"),
    ({"problem": "2+2?", "solution": r"It is $\boxed{\frac{8}{2}}$."}, r"\frac{8}{2}"),
    ({"problem": "2+2?", "solution": "It is four."}, None),
    ({"Problem": "2+2?", "Answer": 4, "ID": "2024-I-1", "Solution": "x"}, "4"),
    ({"id": 60, "problem": "2+2?", "answer": "004"}, "004"),
    ({"problem": "2+2?", "answer": "4", "generations": ["<think>a</think>4"], "messages": [{"role": "user"}]}, "4"),
    ({"prompt": "2+2?", "target": "4"}, "4"),
    ({"prompt": [{"role": "user", "content": "2+2?"}], "ground_truth": "4"}, "4"),
    ({"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}], "answer": "4"}, "4"),
    ({"conversations": [{"from": "human", "value": "2+2?"}], "expected_answer": "4", "answer": None}, "4"),
    ({"question": "2+2?"}, None),
]


@pytest.mark.parametrize(("fields", "answer"), SHAPES)
@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_questions_are_found_in_the_fields_that_data_sets_use(
    tmp_path: Path, fields: dict[str, object], answer: str | None, ending: str
) -> None:
    path = tmp_path / f"problems.{ending}"
    if ending == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([fields]), path)
    else:
        path.write_text(json.dumps([fields], indent=1) if ending == "json" else json.dumps(fields))
    assert load_questions(path) == [Question(question="2+2?", answer=answer)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no questions"),
        ('{"question": "a"}\n{', "line 2: it is not JSON"),
        ('{"question": "a"}\n\n{"answer": 3}', "line 3 has no question"),
        ("[]", "holds no questions"),
        ("3", "line 1: it is not a JSON object"),
        (
            '{"text": "a", "n": 3}',
            "line 1 has no question: its fields are n, text; give .* or a question in one of problem",
        ),
        ('{"messages": []}', "line 1 has no question in messages: the list of messages is empty"),
        (
            '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},'
            ' {"role": "user", "content": "c"}]}',
            "line 1 has several questions in messages: give a conversation of one question",
        ),
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
