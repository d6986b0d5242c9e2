"""Problems by name."""

import json
from pathlib import Path

import pytest
from datasets import Dataset

from toolkit.answers import problem_sets
from toolkit.answers.grading import Grader, Reply
from toolkit.answers.problem_sets import HUB_SETS, HubSet, open_problems
from toolkit.answers.questions import Question, load_questions, shipped_questions
from toolkit.library_warnings import ToolkitWarning
from toolkit.organism.evaluation import held_out_problems


def test_on_the_organisms_problems_nothing_was_chosen() -> None:
    questions = [each.question for each in open_problems("organism")]
    chosen = {each.question for each in load_questions(shipped_questions(embedded=True))}
    assert len(questions) == len(set(questions)) > 256
    assert not chosen & set(questions)
    assert not {problem.question for problem in held_out_problems(400)} & set(questions)  # of the shipped figures


ROWS: dict[str, dict[str, object]] = {
    "gsm8k": {"question": "2+2?", "answer": "2+2=<<2+2=4>>4\n#### 4"},
    "math-500": {
        "problem": "2+2?", "solution": r"It is $\boxed{4}$.", "answer": "4", "subject": "Algebra", "level": 1,
        "unique_id": "test/algebra/1.json",
    },
    "aime24": {"id": 60, "problem": "2+2?", "solution": "So 4.", "answer": "004", "url": "u", "year": "2024"},
    "aime25": {"id": "1", "problem": "2+2?", "answer": "4", "solution": "None", "year": "2025"},
    "amc23": {"id": 0, "question": "2+2?", "answer": "4"},
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_set_by_name_is_read_from_its_place_on_the_hub(name: str, monkeypatch) -> None:
    asked = []

    def hub(dataset: str, config: str | None, *, split: str) -> Dataset:
        asked.append(HubSet(dataset, split, config))
        return Dataset.from_list([ROWS[name]])

    monkeypatch.setattr(problem_sets, "load_dataset", hub)
    (question,) = open_problems(name)
    assert question.question == "2+2?"
    assert grade(r"\boxed{4}", question) == "right"
    assert asked == [HUB_SETS[name]]


def grade(text: str, question: Question) -> str | None:
    return Grader().grade_each([Reply(text, question.answer, True)])[0].verdict


def test_without_a_hub_the_error_says_how_to_go_on() -> None:
    with pytest.raises(
        ValueError, match=r"the hub did not give aime25, which is yentinglin/aime_2025 .* path of its file"
    ):
        open_problems("aime25")


def test_a_name_that_is_neither_a_set_nor_a_file_is_named_with_the_sets() -> None:
    with pytest.raises(ValueError, match="no problems at 'aime26': give a file, or one of gsm8k, math-500, aime24"):
        open_problems("aime26")


def problems_file(folder: Path, problem: str, answer: str) -> str:
    path = folder / "problems.jsonl"
    path.write_text(json.dumps({"Problem": problem, "Answer": answer}))
    return str(path)


def test_the_wrong_answer_of_a_copy_of_aime_is_put_right(tmp_path: Path) -> None:
    problem = r"Find the number of intersections of \[y=4 g(f(\sin (2 \pi x))) \quad x=4 g(f(\cos (3 \pi y))).\]"
    with pytest.warns(ToolkitWarning, match="AIME 2024 I 12 has the answer 384 here: 385 is taken"):
        (question,) = open_problems(problems_file(tmp_path, problem, "384"))
    assert question == Question(question=problem, answer="385")
    assert open_problems(problems_file(tmp_path, problem, "385")) == [question]


def test_the_word_that_copies_of_aime_lack_is_warned_of(tmp_path: Path) -> None:
    problem = (
        r"There are exactly three positive real numbers $k$ such that \[f(x)=\frac{(x-18)(x-72)(x-98)(x-k)}{x}\]"
        " achieves its minimum value at exactly two {}real numbers $x$."
    )
    whole = problem.replace("{}real", "positive real")
    assert open_problems(problems_file(tmp_path, whole, "240")) == [Question(question=whole, answer="240")]
    lacking = problem.replace("{}real", "real")
    with pytest.warns(ToolkitWarning, match="AIME 2025 II 15 does not say here that x is positive"):
        assert open_problems(problems_file(tmp_path, lacking, "240")) == [Question(question=lacking, answer="240")]
