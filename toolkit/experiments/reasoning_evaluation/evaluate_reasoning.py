"""The evaluation of reasoning in one call, on models, edits and questions of one's own."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import starmap
from pathlib import Path
from typing import Any

from toolkit.answers.answering import Answerer
from toolkit.answers.problem_sets import open_problems
from toolkit.answers.questions import Question, read_questions
from toolkit.arguments import as_indices
from toolkit.experiments.reasoning_evaluation import ReasoningEvaluationSettings
from toolkit.experiments.reasoning_evaluation.asking import asking
from toolkit.experiments.reasoning_evaluation.measure import measure_arms
from toolkit.experiments.reasoning_evaluation.page import findings_of
from toolkit.fields import check_names
from toolkit.harvest.records import Record
from toolkit.models.model.edits import Change, Edit, check_change
from toolkit.models.model.traced_model import TracedModel
from toolkit.reports.findings import Findings

GivenArm = TracedModel | tuple[TracedModel, Change]
GivenQuestion = Question | tuple[str, str | float]


def evaluate_reasoning(
    arms: Mapping[str, GivenArm],
    questions: str | Path | Iterable[GivenQuestion],
    *,
    settings: ReasoningEvaluationSettings | None = None,
    **changes: Any,
) -> Findings:
    """Let models answer the same questions, alone or under an edit: who is right, and how long do they think?

    `arms` are models by name, or (model, edit); all are compared with the first one. `questions` are the name of a set
    such as "organism" or "gsm8k", a file, or a list of (question, answer), which is read as a file is.
    `findings.results["arms"]["steered"]["accuracy"]` is a share of the questions, `findings.results["paired"]` holds
    differences from the first arm with their intervals. Settings are a `ReasoningEvaluationSettings` or its fields as
    keywords, such as `temperature=0`. Arms with names as the recipe has them, "distilled + steer 623 0.1", get its
    verdicts too. Raises `ValueError` for questions that cannot be asked, and for an edit that does not fit its model.
    """
    check_names(ReasoningEvaluationSettings, changes, "evaluate_reasoning")
    if "budgets" in changes:
        changes["budgets"] = as_indices(changes["budgets"], "budgets")
    settings = replace(settings or ReasoningEvaluationSettings(), **changes)
    answerers = _answerers(arms)
    asked = asking(settings, answerers.values(), _questions(questions))
    found = measure_arms(answerers, asked.questions, asked.writing, budgets=asked.budgets)
    models = dict.fromkeys(each.model.source for each in answerers.values())
    return findings_of(found, {"models": ", ".join(models), **asked.facts()}, {})


def _answerers(arms: Mapping[str, GivenArm]) -> dict[str, Answerer]:
    if not isinstance(arms, Mapping) or not arms:
        raise ValueError(f"arms {arms!r:.60}: give models by name, as {{'distilled': pair.distilled}}")
    found: dict[str, Answerer] = {}
    for name, given in arms.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"an arm is named {name!r}: give each arm a name in words, such as 'distilled'")
        model, edit = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        if not isinstance(model, TracedModel):
            kind = type(model).__name__
            raise ValueError(f"arm {name!r} is a {kind}: give a model, such as pair.distilled, or (model, edit)")
        check_change(edit)
        _check_fits(name, model, edit)
        found[name] = Answerer(model, edit)
    return found


def _check_fits(name: str, model: TracedModel, edit: Change | None) -> None:
    """Raise `ValueError` for an edit of a layer that the model lacks, or with vectors of another width."""
    for part in edit.parts if edit else ():
        layer = getattr(part, "layer", 0)
        if not 0 <= layer < model.n_layers:
            raise ValueError(f"arm {name!r} edits layer {layer}: the model has layers 0 to {model.n_layers - 1}")
        for operand in part.operands if isinstance(part, Edit) else ():
            if operand.shape[-1] != model.d_model:
                raise ValueError(
                    f"arm {name!r} edits with vectors of width {operand.shape[-1]}, the model's stream has"
                    f" {model.d_model}: make the edit with a crosscoder of this model"
                )


def _questions(given: str | Path | Iterable[GivenQuestion]) -> list[Question]:
    if isinstance(given, str | Path):
        return open_problems(str(given))
    if not isinstance(given, Iterable):
        raise ValueError(f"questions {given!r:.60}: give a list of (question, answer), a file, or the name of a set")
    return read_questions(starmap(_record, enumerate(given, start=1)), data="the list")


def _record(number: int, given: GivenQuestion) -> Record:
    pair = (given.question, given.answer) if isinstance(given, Question) else given
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
        raise ValueError(f"questions hold {given!r:.60}: give (question, answer) for each")
    return Record(f"question {number:,} of the list", dict(zip(("question", "answer"), pair, strict=True)))
