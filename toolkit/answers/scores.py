"""Measures and grades answers: length of the thinking, hesitation, and whether they are right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.answers.grading import BOXED, Grader, Reply
from toolkit.answers.records import AnswerRecord, Written
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.text.chat import CLOSING, closing_ids


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The tokens of one model that tell the parts of an answer."""

    closing: tuple[int, ...]
    """They end the thinking; empty for a model that does not write its thinking, whose text is all answer."""
    ends: Mapping[int, str]
    """Tokens that end an answer, as they are written in its text."""
    hesitation: frozenset[int]
    """Tokens that count as hesitation."""

    @classmethod
    def of(cls, model: TracedModel, hesitation: frozenset[int]) -> "Marks":
        """The marks of a model's tokenizer."""
        ends = {end: model.tokenizer.decode([end]) for end in model.end_ids.tolist()}
        return cls(closing=tuple(closing_ids(model.tokenizer)), ends=ends, hesitation=hesitation)


def score_each(
    written: Sequence[Written],
    marks: Mapping[str, Marks],
    wanted: Sequence[str | None],
    *,
    instruction: str = "",
    start: str = "",
) -> list[AnswerRecord]:
    """Measure and grade answers; `marks` are by arm, `wanted` is the right answer of each question.

    Where the `instruction` below a question asks for a `\\boxed{}`, only what stands in one counts as an answer.
    Forced answers begin with `start`, behind `</think>`; of them one line counts, which need not have ended.
    """
    replies = [_reply(each, marks[each.arm], wanted[each.question], start) for each in written]
    with Grader(boxed=BOXED in instruction) as grader:
        grades = grader.grade_each(replies)
    return [
        AnswerRecord(
            arm=each.arm,
            question=each.question,
            sample=each.sample,
            text=reply.text,
            tokens=len(each.token_ids),
            thought=each.budget or thinking_tokens(each.token_ids, marks[each.arm].closing),
            hesitations=sum(token in marks[each.arm].hesitation for token in each.token_ids),
            finished=_ended(each, marks[each.arm]),
            said=grade.said,
            verdict=grade.verdict,
            disputed=grade.disputed,
            reason=grade.reason,
            budget=each.budget,
        )
        for each, reply, grade in zip(written, replies, grades, strict=True)
    ]


def thinking_tokens(token_ids: Sequence[int], closing: Sequence[int]) -> int | None:
    """Return the number of tokens before `closing` first occurs; None where it does not, or is empty."""
    width = len(closing)
    starts = range(len(token_ids) - width + 1) if width else ()
    return next((i for i in starts if tuple(token_ids[i : i + width]) == tuple(closing)), None)


def _ended(written: Written, marks: Marks) -> bool:
    return bool(written.token_ids) and written.token_ids[-1] in marks.ends


def _reply(written: Written, marks: Marks, wanted: str | None, start: str) -> Reply:
    ended = _ended(written, marks)
    text = written.text.removesuffix(marks.ends[written.token_ids[-1]]) if ended else written.text
    if written.budget is None:
        return Reply(text, wanted, ended=ended, thinks=bool(marks.closing))
    return Reply(f"{CLOSING}\n\n{first_line(start, text)}", wanted, ended=True, thinks=True)


def first_line(start: str, text: str) -> str:
    """Return a forced answer up to its first line end behind which no brace is open.

    A model that was made to answer may go on and think again; what it says then is not its answer at this budget.
    """
    answer = start
    for line in text.splitlines(keepends=True):
        answer += line
        if line.strip() and answer.count("{") <= answer.count("}"):
            break
    return answer
