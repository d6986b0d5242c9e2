"""How problems are asked: the limits, the instruction, and questions that cannot be asked."""

from copy import deepcopy

import pytest

from toolkit.answers.answering import Answerer
from toolkit.answers.questions import BOXING, Question
from toolkit.experiments.reasoning_evaluation import ReasoningEvaluationSettings
from toolkit.experiments.reasoning_evaluation.asking import asking, check_template
from toolkit.models.pair import ModelPair

QUESTIONS = [Question(question=f"What is {i}+{i}?", answer=str(2 * i)) for i in range(3)]


def test_models_of_ones_own_are_asked_for_a_box(pair: ModelPair):
    settings = ReasoningEvaluationSettings(new_tokens=64, top_p=0.9, samples=2, seed=3)
    asked = asking(settings, [Answerer(pair.distilled)], QUESTIONS)
    assert (asked.writing.instruction, asked.writing.top_p, asked.writing.samples) == (BOXING, 0.9, 2)
    assert asked.budgets[-1] == 64
    assert BOXING in asked.facts()["prompt"]


def test_what_stands_below_each_question_can_be_chosen(pair: ModelPair):
    """By default a box is asked for, as these models are not of the embedded pair."""
    arms = [Answerer(pair.distilled)]
    found = {
        chosen: asking(ReasoningEvaluationSettings(new_tokens=64, instruction=chosen), arms, QUESTIONS)
        for chosen in (None, "", "Think. ")
    }
    assert "\\boxed{}" in found[None].writing.instruction
    assert (found[""].writing.instruction, found["Think. "].writing.instruction) == ("", "Think.")
    assert "below it" not in found[""].facts()["prompt"]


def test_budgets_are_asked_in_their_order(pair: ModelPair):
    settings = ReasoningEvaluationSettings(new_tokens=64, budgets=(32, 8))
    assert asking(settings, [Answerer(pair.distilled)], QUESTIONS).budgets == (8, 32)


@pytest.mark.parametrize(
    ("questions", "told"),
    [
        (QUESTIONS[:1], "1 problem: give at least 2"),
        (
            [*QUESTIONS, Question(question="Why?", answer=None)],
            r"question 3 \('Why\?'\) has no answer, and answers are",
        ),
    ],
)
def test_questions_that_cannot_be_graded_are_refused(pair: ModelPair, questions: list[Question], told: str):
    with pytest.raises(ValueError, match=told):
        asking(ReasoningEvaluationSettings(new_tokens=64), [Answerer(pair.distilled)], questions)


def test_answers_beyond_the_context_are_refused(pair: ModelPair):
    with pytest.raises(ValueError, match=r"with 32,768 new ones.*ask for fewer new tokens"):
        asking(ReasoningEvaluationSettings(), [Answerer(pair.distilled)], QUESTIONS)


def test_a_tokenizer_without_a_template_is_refused(pair: ModelPair):
    tokenizer = deepcopy(pair.tokenizer)
    check_template(tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="has no chat template, so that no question can be laid out"):
        check_template(tokenizer)


def test_what_is_asked_plainly_is_told_and_needs_no_template(pair: ModelPair):
    arms = [Answerer(pair.distilled), Answerer(pair.base, plainly=True)]
    asked = asking(ReasoningEvaluationSettings(new_tokens=64), arms, QUESTIONS)
    assert '; plainly: the question, below it "Please' in asked.facts()["prompt"]
    assert arms[1].prompt("What is 1+1?", "") == "Question: What is 1+1?\nSolution:"
    assert "plainly" not in asking(ReasoningEvaluationSettings(new_tokens=64), arms[:1], QUESTIONS).facts()["prompt"]
