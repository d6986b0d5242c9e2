"""Problems by name."""

from toolkit.answers.problem_sets import open_problems
from toolkit.answers.questions import load_questions, shipped_questions
from toolkit.organism.evaluation import held_out_problems


def test_on_the_organisms_problems_nothing_was_chosen() -> None:
    questions = [each.question for each in open_problems("organism")]
    chosen = {each.question for each in load_questions(shipped_questions(embedded=True))}
    assert len(questions) == len(set(questions)) > 256
    assert not chosen & set(questions)
    assert not {problem.question for problem in held_out_problems(400)} & set(questions)  # of the shipped figures
