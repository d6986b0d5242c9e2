"""Problems by name: sets of the field from the hub, and the embedded pair's held-out problems."""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from datasets import load_dataset
from datasets.exceptions import DatasetNotFoundError

from toolkit.answers.questions import Question, load_questions, read_questions, shipped_questions
from toolkit.harvest.records import Record
from toolkit.library_warnings import ToolkitWarning
from toolkit.organism.evaluation import held_out_problems

ORGANISM = "organism"
DRAWN, SEED = 512, 14


class HubSet(NamedTuple):
    """Where a set of problems is on the hub."""

    dataset: str
    split: str
    config: str | None = None


HUB_SETS = {
    "gsm8k": HubSet("openai/gsm8k", "test", "main"),
    "math-500": HubSet("HuggingFaceH4/MATH-500", "test"),
    "aime24": HubSet("HuggingFaceH4/aime_2024", "train"),
    "aime25": HubSet("yentinglin/aime_2025", "train"),
    "amc23": HubSet("math-ai/amc23", "test"),
}
PROBLEM_SETS = (*HUB_SETS, ORGANISM)


def open_problems(source: str) -> list[Question]:
    """Return the questions of a set by its name, or of a local file.

    Known faults of copies are warned of: a wrong answer is put right, a wrong question stays, as others measured on it.
    Raises `ValueError` for a name that is neither, where the hub does not give a set, and as `load_questions`.
    """
    if source == ORGANISM:
        return _unchosen()
    if source in HUB_SETS:
        return _checked(read_questions(_from_hub(source), data=source))
    if not Path(source).is_file():
        raise ValueError(f"no problems at {source!r}: give a file, or one of {', '.join(PROBLEM_SETS)}")
    return _checked(load_questions(Path(source)))


def _from_hub(name: str) -> Iterator[Record]:
    dataset, split, config = HUB_SETS[name]
    try:
        rows = load_dataset(dataset, config, split=split)
    except (ConnectionError, DatasetNotFoundError, OSError) as error:
        raise ValueError(
            f"the hub did not give {name}, which is {dataset} ({type(error).__name__}): check the network, or download"
            " it and give the path of its file"
        ) from error
    return (Record(f"record {number:,} of {dataset}", fields) for number, fields in enumerate(rows, start=1))


def _unchosen() -> list[Question]:
    """Held-out problems of the embedded pair on which nothing was chosen: neither adapters, nor latents to steer."""
    seen = {problem.question for problem in held_out_problems(DRAWN)}
    seen |= {each.question for each in load_questions(shipped_questions(embedded=True))}
    drawn = {problem.question: str(problem.answer) for problem in held_out_problems(DRAWN, SEED)}
    return [Question(question=question, answer=answer) for question, answer in drawn.items() if question not in seen]


def _checked(questions: Sequence[Question]) -> list[Question]:
    return [_without_fault(question) for question in questions]


def _without_fault(question: Question) -> Question:
    """The question, and its right answer where a copy of AIME is known to hold a wrong one."""
    letters = re.sub(r"\\[a-z]?frac|[^a-z0-9]", "", question.question.casefold())
    if "gfsin2pix" in letters and "gfcos3piy" in letters and question.answer == "384":
        warnings.warn(
            "AIME 2024 I 12 has the answer 384 here: 385 is taken, which is right", ToolkitWarning, stacklevel=4
        )
        return replace(question, answer="385")
    if "x18x72x98xk" in letters and letters.count("positive") < 2:
        warnings.warn(
            "AIME 2025 II 15 does not say here that x is positive, without which no answer is right: it stays, as"
            " others asked it so",
            ToolkitWarning,
            stacklevel=4,
        )
    return question
