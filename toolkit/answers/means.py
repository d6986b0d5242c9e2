"""The means of answers over questions, with their intervals."""

from jaxtyping import Float
from torch import Tensor

from toolkit.answers.answer_tables import Answers
from toolkit.statistics.estimates import FEWEST_GROUPS, Estimate, mean
from toolkit.statistics.shares import share

UNIT = "question"
MEASURES = {"length": "length", "correct": "accuracy", "hesitation": "hesitation_per_1k", "finished": "finished"}
"""The measures of answers, with their names in results."""
SHARES = ("correct", "finished")


def means(answers: Answers, arm: int) -> dict[str, Estimate]:
    """Return the mean of each measure over the questions, by its name in `Answers`, of one arm."""
    return {
        measure: share_of_questions(getattr(answers, measure)[arm])
        if measure in SHARES
        else mean_of_questions(getattr(answers, measure)[arm])
        for measure in MEASURES
    }


def share_of_questions(values: Float[Tensor, " question"]) -> Estimate:
    """Return the share of questions with its interval, NaN left out; none below 8 questions.

    Several samples of a question are averaged before, and are no trials any more: theirs is a mean over questions.
    """
    known = values[~values.isnan()]
    trials = bool(((known == 0) | (known == 1)).all())
    return share(known) if trials and len(known) >= FEWEST_GROUPS else mean_of_questions(known).within(0.0, 1.0)


def mean_of_questions(values: Float[Tensor, " question"]) -> Estimate:
    """Return the mean of a length or a rate over questions, with its interval, which does not go below 0."""
    return mean(values, unit=UNIT).within(0.0)
