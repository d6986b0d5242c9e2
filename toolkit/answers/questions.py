"""Questions with their answers, read from files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.answers.final_answers import bare, marked_answer
from toolkit.harvest.records import objects_of

PROMPTS = Path(__file__).parents[1] / "data" / "prompts"
BOXING = "Please reason step by step, and put your final answer within \\boxed{}."
"""The instruction of the field, below a question in the user's turn; the embedded pair is asked without one."""
FORM = '{"question": "…", "answer": "…"}'


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, and its answer where that is known."""

    question: str
    answer: str | None


def shipped_questions(*, embedded: bool) -> Path:
    """Return the file of questions that ships for the embedded pair, or for all other models."""
    return PROMPTS / ("embedded.jsonl" if embedded else "everyday.jsonl")


def load_questions(path: Path) -> list[Question]:
    """Read questions from a JSONL file of `{"question": …, "answer": …}`; the answer may be missing or null.

    Of a worked answer with a marked result, such as `#### 72` in GSM8K, only the result counts. A question that comes
    again with the same answer counts once. Raises `ValueError` for a file that cannot be read, and for a line that
    holds no question, which it names.
    """
    found: dict[str, Question] = {}
    for place, fields in objects_of(path):
        question = _question(place, fields)
        if found.setdefault(question.question, question) != question:
            raise ValueError(f"{place}: {question.question!r} came before with another answer: give each question once")
    if not found:
        raise ValueError(f"{path} holds no questions: give lines of {FORM}")
    return list(found.values())


def _question(place: str, fields: Mapping[str, Any]) -> Question:
    question, answer = fields.get("question"), fields.get("answer")
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{place} has no question: give {FORM}")
    if answer is None:
        return Question(question=question, answer=None)
    if isinstance(answer, bool) or not isinstance(answer, str | int | float) or answer != answer:
        raise ValueError(f"{place} has {answer!r} as its answer: give a string or a number, or leave it out")
    marked = marked_answer(str(answer))
    wanted = bare(str(answer)) if marked is None else marked
    if not wanted:
        raise ValueError(f"{place} has an empty answer: give one, or leave it out")
    return Question(question=question, answer=wanted)
