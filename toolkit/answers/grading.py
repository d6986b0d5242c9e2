"""Grades answers: what they say, whether that is right, and what told."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, NamedTuple

from toolkit.answers.comparing import algebra_of, compare, is_algebra, is_left_undone
from toolkit.answers.final_answers import marked_answer
from toolkit.answers.records import Verdict
from toolkit.answers.symbolic import LIMIT, Judgement, SymbolicComparison
from toolkit.models.text.chat import CLOSING

SettledBy = Literal["text", "number", "letter", "math-verify"]
"""What told whether an answer is the wanted one."""
BOXED = r"\boxed{"
"""What an instruction holds that asks for a box."""
LONGEST = 1_000


class Reply(NamedTuple):
    """An answer as it was written, and what is known of it."""

    text: str
    """Without the token that ends it."""
    wanted: str | None
    """The right answer; None where it is not known."""
    ended: bool
    """Whether it ended by itself, before the limit of tokens."""
    thinks: bool = False
    """Whether it begins within a thought, as after a prompt that ends with `<think>`; it then answers behind `</think>`
    only."""


@dataclass(frozen=True, kw_only=True)
class Grade:
    """What an answer says, and whether that is right."""

    verdict: Verdict | None
    """None where the right answer is not known."""
    said: str | None
    """The final answer as it is written there; None where none is marked, and where the answer was cut off."""
    settled_by: SettledBy | None = None
    """None where nothing was compared."""
    disputed: bool = False
    """Whether it counts as right by math-verify alone: as text, letter and number it is not the right answer."""
    reason: str | None = None
    """Why a wrong answer could not be compared."""


class Grader:
    """Grades answers; the processes that it may start end with the `with` block.

    What text, letters and numbers do not settle, math-verify does, in processes that start with the first such answer.
    Where `boxed`, questions asked for a `\\boxed{}`, and only what stands in one counts as an answer. `limit` is the
    time in seconds that math-verify may take for an answer; a longer one is wrong, with that reason.
    """

    def __init__(self, *, boxed: bool = False, limit: float = LIMIT) -> None:
        self.boxed = boxed
        self.symbolic = SymbolicComparison(limit=limit)
        self._judged: dict[tuple[str, str], Judgement] = {}

    def __enter__(self) -> "Grader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.symbolic.close()

    def grade_each(self, replies: Iterable[Reply]) -> list[Grade]:
        """Return the grade of each answer, in their order."""
        drafts = [(reply, self._draft(reply)) for reply in replies]
        pairs = [(draft.said or "", reply.wanted or "") for reply, draft in drafts if draft.settled_by == "math-verify"]
        if new := [pair for pair in dict.fromkeys(pairs) if pair not in self._judged]:
            judgements = self.symbolic.judge_each((algebra_of(said), algebra_of(wanted)) for said, wanted in new)
            self._judged.update(zip(new, judgements, strict=True))
        judged = iter([self._judged[pair] for pair in pairs])
        return [_judged(draft, next(judged)) if draft.settled_by == "math-verify" else draft for _, draft in drafts]

    def _draft(self, reply: Reply) -> Grade:
        """The grade of an answer; one that only math-verify can settle is wrong so far."""
        said = self._said(reply)
        if reply.wanted is None:
            return Grade(verdict=None, said=said)
        if said is None:
            return Grade(verdict="unanswered" if reply.ended else "cut off", said=None)
        if len(said) > LONGEST:
            return Grade(verdict="wrong", said=said, reason=f"it is longer than {LONGEST:,} characters")
        if found := compare(said, reply.wanted):
            return Grade(verdict="right" if found.same else "wrong", said=said, settled_by=found.means)
        if is_left_undone(said, reply.wanted):
            return Grade(verdict="wrong", said=said, reason="it is a sum that was not worked out")
        if not is_algebra(said):
            return Grade(verdict="wrong", said=said, reason="it holds words, which no comparison reads")
        if not is_algebra(reply.wanted):
            return Grade(verdict="wrong", said=said, reason="the right answer holds words, which no comparison reads")
        return Grade(verdict="wrong", said=said, settled_by="math-verify")

    def _said(self, reply: Reply) -> str | None:
        """What an answer says behind its thinking; None for one that was cut off, or whose thinking did not end."""
        _, closing, answer = reply.text.rpartition(CLOSING)
        if not reply.ended or (reply.thinks and not closing):
            return None
        return marked_answer(answer, boxed=self.boxed) or None


def _judged(draft: Grade, judgement: Judgement) -> Grade:
    verdict: Verdict = "right" if judgement.same else "wrong"
    return replace(draft, verdict=verdict, disputed=judgement.same, reason=judgement.reason)
