"""Lets every arm answer every question, freely and at budgets of thinking, and compares the arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.answers.answering import Answerer, Writing
from toolkit.answers.problem_sets import ORGANISM, open_problems
from toolkit.answers.questions import Question
from toolkit.answers.records import write_records
from toolkit.artifacts import sha256
from toolkit.experiments.control import is_embedded
from toolkit.experiments.reasoning_evaluation import ANSWERS, GRADED, ReasoningEvaluationConfig
from toolkit.experiments.reasoning_evaluation.answerers import open_arms
from toolkit.experiments.reasoning_evaluation.answering_arms import answer_arms
from toolkit.experiments.reasoning_evaluation.asking import asking
from toolkit.experiments.reasoning_evaluation.results import Measured
from toolkit.experiments.reasoning_evaluation.study import arm_results, chosen_questions, paired_results
from toolkit.models.pair import ModelPair
from toolkit.models.presets import in_checkout

USUAL_PROBLEMS = "gsm8k"


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What was found, and of what."""

    measured: Measured
    facts: Mapping[str, str]
    """What a report's head says of problems, prompts, crosscoder and adapter."""
    files: Mapping[str, str]
    """Sha256 of the files that were read beside the pair's."""


def measure(settings: ReasoningEvaluationConfig, opened: ModelPair) -> Evaluated:
    """Open arms and problems, then let every arm answer; answers that the settings' folder holds are kept.

    Raises `ValueError`, before anything is generated, as `open_arms`, `open_problems`, `asking` and `measure_arms`.
    """
    source = settings.problems or (ORGANISM if is_embedded(opened) else USUAL_PROBLEMS)
    problems = open_problems(source)
    arms = open_arms(settings, opened)
    asked = asking(settings, arms.answerers.values(), problems[: settings.n_problems])
    settings.output.out.mkdir(parents=True, exist_ok=True)
    measured = measure_arms(
        arms.answerers,
        asked.questions,
        asked.writing,
        budgets=asked.budgets,
        kept=settings.output.out / ANSWERS,
    )
    every = (each for arm in measured.arms.values() for each in (*arm.records, *arm.forced))
    write_records(settings.output.out / GRADED, every, [each.question for each in asked.questions])
    which = f"{source}, the first {len(asked.questions):,} of {len(problems):,}"
    files = dict(arms.files) | ({in_checkout(source): sha256(Path(source))} if Path(source).is_file() else {})
    return Evaluated(measured=measured, facts={"problems": which, **asked.facts(), **arms.facts}, files=files)


def measure_arms(
    arms: Mapping[str, Answerer],
    questions: Sequence[Question],
    writing: Writing,
    *,
    budgets: Sequence[int],
    kept: Path | None = None,
) -> Measured:
    """Answer every question in every arm, and again at every budget; the first arm is what others are compared with.

    `kept` is the file of all answers: those that it holds are not written again. `Answerer.fingerprint` must then say
    which model each arm is. Raises `ValueError` for a budget that is out of range, and for a file of other settings.
    """
    answered = answer_arms(arms, questions, writing, sorted(budgets), kept)
    results = {name: arm_results(*answered.of(name), sorted(budgets)) for name in arms}
    first, *others = results.values()
    return Measured(
        questions=tuple(questions),
        samples=writing.samples,
        new_tokens=writing.new_tokens,
        arms=results,
        paired={name: paired_results(other, first) for name, other in zip([*arms][1:], others, strict=True)},
        side_by_side=chosen_questions(results),
        generated=answered.generated,
    )
