"""The stitching page: what it costs a model to go on from another's stream, by cut, map and kind of position."""

from dataclasses import replace
from math import isnan
from typing import Any

from toolkit.experiments.control import control_files
from toolkit.experiments.opening import models_of
from toolkit.experiments.reasoning_evaluation.page import results as answer_results
from toolkit.experiments.run import Run
from toolkit.experiments.stitching import StitchingConfig
from toolkit.experiments.stitching.charts import charts
from toolkit.experiments.stitching.claims import claims
from toolkit.experiments.stitching.figures import plain_name
from toolkit.experiments.stitching.found import StitchingFound
from toolkit.experiments.stitching.generation import StitchedAnswers
from toolkit.experiments.stitching.results import results
from toolkit.experiments.stitching.study import (
    BASE_TO_CONTROL,
    RANK_MARGIN,
    RIDGE,
    SELF,
    StitchingStudy,
)
from toolkit.experiments.stitching.tables import (
    answers_tables,
    control_table,
    cost_value,
    cut_table,
    distance_table,
    joined,
    kind_table,
    kinds_of,
    main_directions,
    own_loss,
    rank_table,
    tokens_said,
    training_table,
)
from toolkit.formatting import counted
from toolkit.models.model_set import ModelSet
from toolkit.reports.findings import Findings, Headline, SideBySide, left_out_tables
from toolkit.reports.verdicts import verdict_results, verdict_table
from toolkit.stitching.opening import StitchableModels
from toolkit.stitching.position_kinds import HESITATION

TEXTS_SHOWN = 2
CLAIMS_SAID = (
    "Effects and margins are KL(receiver ‖ stitched) in nats a token. The claims were first written in excess"
    " cross-entropy, and restated in KL after trials in which a receiver that cannot predict the text predicted it"
    " better from a stream that was brought over badly."
)
CONTROL_NOTES = {
    SELF: "the model before itself, by the identity",
    BASE_TO_CONTROL: "a model trained on without distillation, by the ridge",
}


def page(settings: StitchingConfig, opened: StitchableModels | ModelSet | Run, found: StitchingFound) -> Findings:
    """The page's content."""
    models, study = models_of(opened), found.study
    claimed, main = claims(study), main_directions(study)
    return Findings(
        name="stitching",
        title=f"Stitching: {' → '.join(models.origins)}",
        question=(
            "The first layers of one model run, a map brings their stream into the other model, and its later layers go"
            " on from there. What does that cost its predictions?"
        ),
        facts=_facts(settings, models, study),
        headline=[
            *(row for direction in main for row in _headline(study, direction)),
            *_control_headline(study),
            *(_answer_headline(found.answers[main[0]]) if main[0] in found.answers else []),
        ],
        tables=[
            *([verdict_table(claimed, note=CLAIMS_SAID)] if claimed else []),
            *(cut_table(study, direction) for direction in main),
            control_table(study),
            *(kind_table(study, direction) for direction in main),
            *(cut_table(study, direction, "ce") for direction in main),
            *([training_table(study, found.trained)] if found.trained else []),
            *answers_tables(found.answers),
            *left_out_tables("map", {plain_name(name): why for name, why in study.left_out.items()}),
            *(kind_table(study, direction, "ce") for direction in main),
            *([rank_table(study)] if any(study.at_middle(direction).ranks for direction in main) else []),
            *([distance_table(study)] if study.at_middle(main[0]).from_identity else []),
        ],
        charts=charts(study),
        texts=[text for each in found.answers.values() for text in _texts(each)],
        claims=claimed,
        results=results(found)
        | {
            "training": _training_results(found),
            "answers": {name: answer_results(each.measured) for name, each in found.answers.items()},
            "verdicts": verdict_results(claimed),
        },
        provenance={"data": study.origin, "sha256": control_files(settings.models, settings.where, models)},
    )


def _training_results(found: StitchingFound) -> dict[str, Any]:
    """What training took, by direction and map: one entry for each fit, with its looks at the held-out text."""
    return {
        direction: {
            name: [
                {"tokens": each.tokens, "seconds": each.seconds, "looks": [vars(look) for look in each.looks]}
                for each in runs
            ]
            for name, runs in by_map.items()
        }
        for direction, by_map in found.trained.items()
    }


def _facts(settings: StitchingConfig, models: StitchableModels | ModelSet, study: StitchingStudy) -> dict[str, str]:
    direction, *_ = main_directions(study)
    return {
        "models": " → ".join(models.origins),
        "cuts": f"input of layers {', '.join(map(str, study.directions[direction]))}; maps are trained, and models"
        f" answer, at {study.middle[direction]}",
        "maps": f"{counted(len(study.fitted_tokens), 'fit')} of each, on {tokens_said(study.fitted_tokens)} tokens",
        "text": study.text,
        "measured on": f"{study.documents:,} documents on which no map is fitted",
        "seed": str(settings.seed),
    }


def _headline(study: StitchingStudy, direction: str) -> list[Headline]:
    """What the ridge costs at the middle cut, and where a word of hesitation comes next; which rank it needs."""
    stitched = study.at_middle(direction)
    if RIDGE not in stitched.maps:
        return []
    name, unit = f"KL, {joined(stitched)}", "predictions"
    others = ", ".join(f"{plain_name(each)} {stitched.cost(each).value:.2f}" for each in stitched.maps if each != RIDGE)
    rows = [
        Headline(
            name=name,
            value=stitched.cost(RIDGE),
            n=stitched.n(),
            unit=unit,
            note=f"KL(receiver ‖ stitched) in nats a token, by the ridge at cut {stitched.cut}; {others}. In excess"
            f" cross-entropy the ridge costs {stitched.cost(RIDGE, measure='ce').value:.2f}; {own_loss(stitched)}",
        ),
    ]
    if HESITATION in kinds_of(stitched):
        rows.append(
            Headline(
                name=f"{name}, hesitation",
                value=stitched.cost(RIDGE, HESITATION),
                n=stitched.n(HESITATION),
                unit=unit,
                note="KL where the next word is one of hesitation, such as Wait, inside the thinking",
            )
        )
    if stitched.rank_needed is not None:
        rows.append(
            Headline(
                name=f"rank needed, {joined(stitched)}",
                value=stitched.rank_needed,
                note=f"the least one tried that costs less than {RANK_MARGIN:g} nats more than the whole ridge",
            )
        )
    return rows


def _control_headline(study: StitchingStudy) -> list[Headline]:
    """What the last model before itself costs, and base before the control."""
    rows = []
    for direction, name in ((SELF, "identity"), (BASE_TO_CONTROL, RIDGE)):
        if direction not in study.directions:
            continue
        stitched = study.at_middle(direction)
        if name in stitched.maps:
            rows.append(
                Headline(
                    name=f"KL, {joined(stitched)}",
                    value=cost_value(stitched, name),
                    n=stitched.n(),
                    unit="predictions",
                    note=f"control: {CONTROL_NOTES[direction]}",
                )
            )
    return rows


def _answer_headline(answers: StitchedAnswers) -> list[Headline]:
    """How often the stitched receiver hesitates, and how many of its answers are right, by the ridge."""
    measured = answers.measured
    if RIDGE not in measured.arms:
        return []
    stitched, alone = measured.arms[RIDGE].estimates, measured.arms[answers.rest].estimates
    return [
        Headline(
            name=f"{name}, {answers.front} → {answers.rest}",
            value=replace(stitched[measure], note=""),
            n=len(measured.questions),
            unit="problems",
            note=f"{said}, by the ridge at cut {answers.cut}; {answers.rest} alone {alone[measure].value:.2f}",
        )
        for name, measure, said in (
            ("hesitation", "hesitation_per_1k", "hesitation words per 1,000 tokens of the answers"),
            ("accuracy", "accuracy", "share of right answers"),
        )
        if not isnan(stitched[measure].value)
    ]


def _texts(answers: StitchedAnswers) -> list[SideBySide]:
    """All arms' answers to the problems that are worth reading."""
    measured = answers.measured
    return [
        SideBySide(
            title=f"{answers.front} → {answers.rest}: {measured.questions[number].question} (the answer is"
            f" {measured.questions[number].answer})",
            labels=tuple(plain_name(name) for name in measured.arms),
            texts=tuple(measured.text(name, number) for name in measured.arms),
        )
        for number in measured.side_by_side[:TEXTS_SHOWN]
    ]
