"""What is found of each arm's answers, and of the differences between the first arm and each other one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.answers.budgets import AtBudget
from toolkit.answers.questions import Question
from toolkit.answers.records import AnswerRecord, Verdict
from toolkit.statistics.estimates import Estimate

MEASURES = (
    "accuracy", "length", "length_median", "cut_share", "finished_share", "unanswered_share", "hesitation_per_1k",
)  # fmt: skip
"""Names of what is measured of an arm's answers. Lengths are in tokens until `</think>`; where the limit of tokens cut
the thinking they are all tokens, and `cut_share` is the share of such answers: their true lengths are greater."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmResults:
    """One arm's answers to all questions."""

    records: tuple[AnswerRecord, ...]
    """The free answers, by question and sample."""
    forced: tuple[AnswerRecord, ...]
    """The answers that were forced after a budget of thinking, by question, sample and budget."""
    estimates: Mapping[str, Estimate]
    """By name in `MEASURES`; samples of a question are averaged first, and intervals are over questions. Accuracy is
    NaN where no right answer is known."""
    budget: tuple[AtBudget, ...]
    """Accuracy where thinking is stopped after so many tokens, budgets ascending."""
    length_by_verdict: Mapping[Verdict, Estimate]
    """Mean length of the answers of each verdict, with an interval over questions; verdicts that no answer got are
    missing."""
    verdicts: Mapping[Verdict, int]
    """How many answers got each verdict, all four of them; all 0 where no right answer is known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Paired:
    """One arm less the first arm, paired by question and sample; intervals are over questions."""

    estimates: Mapping[str, Estimate]
    """By name in `MEASURES`; `length_median` is the median of the differences, not the difference of the medians."""
    log_length: Estimate
    """Mean difference of the natural logarithms of the lengths."""
    budget: tuple[tuple[int, Estimate], ...]
    """Difference of the accuracies at each budget."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """All arms, and what tells them apart."""

    questions: tuple[Question, ...]
    samples: int
    new_tokens: int
    """Tokens after which a free answer was cut."""
    arms: Mapping[str, ArmResults]
    """By name, the one that the others are compared with first."""
    paired: Mapping[str, Paired]
    """Each arm but the first, less the first."""
    side_by_side: tuple[int, ...]
    """Numbers of questions whose first answers are worth showing, chosen by the rule in `measure.chosen_questions`."""
    generated: int = 0
    """Answers that were written now; the others had been kept."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why an arm that was asked for could not be had, by name."""

    @property
    def first(self) -> str:
        """The name of the arm that the others are compared with."""
        return next(iter(self.arms))

    @property
    def disputed(self) -> list[AnswerRecord]:
        """All answers on which the two graders disagree."""
        return [each for arm in self.arms.values() for each in (*arm.records, *arm.forced) if each.disputed]

    def text(self, arm: str, question: int) -> str:
        """One arm's first answer to a question."""
        return next(each.text for each in self.arms[arm].records if (each.question, each.sample) == (question, 0))
