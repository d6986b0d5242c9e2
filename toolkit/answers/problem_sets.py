"""Problems by name: sets of the field, and the embedded pair's held-out problems."""

from pathlib import Path

from toolkit.answers.questions import Question, load_questions, shipped_questions
from toolkit.organism.evaluation import held_out_problems

ORGANISM = "organism"
DRAWN, SEED = 512, 14


def open_problems(source: str) -> list[Question]:
    """Return the questions of a set by its name, or of a local file.

    Raises `ValueError` for a name that is neither, and as `load_questions`.
    """
    return _unchosen() if source == ORGANISM else load_questions(Path(source))


def _unchosen() -> list[Question]:
    """Held-out problems of the embedded pair on which nothing was chosen: neither adapters, nor latents to steer."""
    seen = {problem.question for problem in held_out_problems(DRAWN)}
    seen |= {each.question for each in load_questions(shipped_questions(embedded=True))}
    drawn = {problem.question: str(problem.answer) for problem in held_out_problems(DRAWN, SEED)}
    return [Question(question=question, answer=answer) for question, answer in drawn.items() if question not in seen]
