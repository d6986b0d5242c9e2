"""Questions with their answers, read from records of the fields that data sets use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.answers.final_answers import bare, marked_answer
from toolkit.harvest.local_files import kind_of
from toolkit.harvest.records import Record, read_records
from toolkit.models.text.messages import UnusableError, read_messages

PROMPTS = Path(__file__).parents[1] / "data" / "prompts"
BOXING = "Please reason step by step, and put your final answer within \\boxed{}."
"""The instruction of the field, below a question in the user's turn; the embedded pair is asked without one."""
ASKED = ("question", "problem", "prompt", "messages", "conversations", "conversation")
"""Fields of a question, as text or as messages, in the order in which they are looked for."""
ANSWERED = ("answer", "target", "expected_answer", "ground_truth")
WORKED = "solution"
"""A worked answer, of which the box or another mark counts, where no field of `ANSWERED` holds one."""
FORM = '{"question": "…", "answer": "…"}'


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, and its answer where that is known."""

    question: str
    answer: str | None


def shipped_questions(*, embedded: bool) -> Path:
    """Return the file of questions that ships for the embedded pair, or for all other models."""
    return PROMPTS / ("embedded.jsonl" if embedded else "everyday.jsonl")


def instruction_to(*, embedded: bool) -> str:
    """Return the instruction below each question: a box is asked for, but of the embedded pair, which knows none."""
    return "" if embedded else BOXING


def load_questions(path: Path) -> list[Question]:
    """Read the questions of a .parquet file, or of a file of JSON objects, as `read_questions` does.

    Raises `ValueError` as it does, and for a file that cannot be read.
    """
    kind = "parquet" if kind_of(str(path)) == "parquet" else "json"
    return read_questions(read_records(str(path), kind=kind), data=str(path))


def read_questions(records: Iterable[Record], *, data: str) -> list[Question]:
    """Read records with a question and an answer in the fields of GSM8K, MATH, AIME, OpenR1-Math or chat messages.

    Capitals in the fields' names do not matter. An answer may be missing or null. Of a worked answer with a marked
    result, such as `#### 72` in GSM8K, only the result counts. A question that comes again with the same answer counts
    once. Raises `ValueError` where there are none, and for a record that holds no question, which it names.
    """
    found: dict[str, Question] = {}
    for place, fields in records:
        if isinstance(fields, UnusableError):
            raise ValueError(f"{place}: {fields}")
        question = _question(place, fields)
        if found.setdefault(question.question, question) != question:
            raise ValueError(f"{place}: {question.question!r} came before with another answer: give each question once")
    if not found:
        raise ValueError(f"{data} holds no questions: give lines of {FORM}")
    return list(found.values())


def _question(place: str, fields: Mapping[str, Any]) -> Question:
    named = _named(fields)
    asked = next((name for name in ASKED if name in named), None)
    text = None if asked is None else _asked(place, asked, named[asked])
    if not text:
        raise ValueError(
            f"{place} has no question: its fields are {', '.join(sorted(fields)) or 'none'}; give {FORM}, or a question"
            f" in one of {', '.join(ASKED[1:])}"
        )
    return Question(question=text, answer=reference_answer(place, fields))


def reference_answer(place: str, fields: Mapping[str, Any]) -> str | None:
    """Return the right answer that a record gives; None where it gives none.

    Raises `ValueError`, which begins with `place`, for an answer that is empty, and neither text nor a number.
    """
    named = _named(fields)
    answered = next((name for name in ANSWERED if name in named), None)
    if answered is None:
        worked = named.get(WORKED)
        return marked_answer(worked) or None if isinstance(worked, str) else None
    return _answer(place, named[answered])


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that hold something, by their names without capitals."""
    return {name.casefold(): value for name, value in fields.items() if value is not None}


def _asked(place: str, name: str, value: Any) -> str:
    """A question's text; of messages what comes before the reply. Empty where there is none."""
    if isinstance(value, str) and name not in ASKED[3:]:
        return value if value.strip() else ""
    if not isinstance(value, list | str):
        return ""
    try:
        turns = read_messages(value).turns
    except UnusableError as error:
        raise ValueError(f"{place} has no question in {name}: {error}") from error
    before = turns[:-1] if turns[-1][0] == "assistant" else turns
    if any(role == "assistant" for role, _ in before):
        raise ValueError(f"{place} has several questions in {name}: give a conversation of one question")
    return "\n\n".join(text for _, text in before if text.strip())


def _answer(place: str, answer: Any) -> str:
    if isinstance(answer, bool) or not isinstance(answer, str | int | float) or answer != answer:
        raise ValueError(f"{place} has {answer!r} as its answer: give a string or a number, or leave it out")
    marked = marked_answer(str(answer))
    wanted = bare(str(answer)) if marked is None else marked
    if not wanted:
        raise ValueError(f"{place} has an empty answer: give one, or leave it out")
    return wanted
