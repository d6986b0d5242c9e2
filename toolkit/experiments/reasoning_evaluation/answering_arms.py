"""Answers of all arms, free ones and those forced at budgets of thinking, with or without a file that keeps them."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from toolkit.answers.answer_log import open_log, write_missing
from toolkit.answers.answering import Answerer, Row, Writing, free_rows, marks_of
from toolkit.answers.budgets import FORCED_TOKENS, behind_of, check_budgets, forced_row, start_of, still_thinking
from toolkit.answers.questions import Question
from toolkit.answers.records import AnswerRecord
from toolkit.answers.scores import score_each
from toolkit.models.model.generation_request import check_prompts
from toolkit.models.model.sampling import Sampling
from toolkit.models.text.tokenizers import encode


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Answers of all arms."""

    free: list[AnswerRecord]
    forced: list[AnswerRecord]
    """Those that were still thinking at a budget, once for each."""
    generated: int
    """Answers that were written now; the others had been kept."""

    def of(self, arm: str) -> tuple[list[AnswerRecord], list[AnswerRecord]]:
        """One arm's free answers, and its forced ones."""
        free, forced = ([each for each in records if each.arm == arm] for records in (self.free, self.forced))
        return free, forced


def answer_arms(
    arms: Mapping[str, Answerer],
    questions: Sequence[Question],
    writing: Writing,
    budgets: Sequence[int],
    kept: Path | None,
) -> Answered:
    """Answer every question in every arm, and again where thinking is stopped; `kept` is the file of all answers.

    A forced answer is greedy, and written under the same edit. Raises `ValueError` as `check_budgets`, `open_log` and
    `check_prompts`, before anything is generated.
    """
    check_budgets(budgets, writing.new_tokens)
    start = start_of(writing.instruction)
    rows = free_rows(arms, questions, writing)
    _check_room(arms, rows, max(budgets, default=0), start)
    settings = {**writing.facts, "start of a forced answer": start, "its tokens": FORCED_TOKENS}
    marks = {name: marks_of(arm, writing.hesitation_ids) for name, arm in arms.items()}
    wanted = [each.answer for each in questions]
    with open_log(kept, arms, settings, greedy=writing.temperature == 0) if kept else nullcontext() as log:
        written, now = write_missing(log, arms, rows, writing.sampling, questions)
        free = score_each(written, marks, wanted, instruction=writing.instruction)
        stopped = [
            forced_row(row, answer, budget, behind_of(arms[row.arm], start), arms[row.arm].model.tokenizer)
            for row, answer, record in zip(rows, written, free, strict=True)
            for budget in budgets
            if still_thinking(record, budget)
        ]
        forcing = Sampling(new_tokens=FORCED_TOKENS, edit_prompt=writing.edit_prompt)
        written, after = write_missing(log, arms, stopped, forcing, questions)
    forced = score_each(written, marks, wanted, instruction=writing.instruction, start=start)
    return Answered(free=free, forced=forced, generated=now + after)


def _check_room(arms: Mapping[str, Answerer], rows: Sequence[Row], budget: int, start: str) -> None:
    """Raise `ValueError` where a model's context has no room for the longest forced answer."""
    for name, arm in arms.items():
        behind = len(encode(arm.model.tokenizer, [behind_of(arm, start)])[0])
        prompts = [row.prompt for row in rows if row.arm == name]
        check_prompts(prompts, Sampling(new_tokens=budget + behind + FORCED_TOKENS), arm.model.context)
