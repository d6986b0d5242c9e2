"""The steering page: does the latent beat chance, what happens by strength, and what the answers read like."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from toolkit.findings.steering import SteeringConfig
from toolkit.geometry.bootstrap import bootstrap_mean
from toolkit.interventions.steering import Answers
from toolkit.interventions.steering_study import Steered, SteeringStudy
from toolkit.reports.findings import Cell, Chart, Estimate, Findings, SideBySide, Table
from toolkit.reports.findings_figures import DosePanel, dose_response
from toolkit.reports.run_report import Headline
from toolkit.runs.subject import Subject

MEASURES = {"length": "tokens until </think>", "hesitation": "hesitation per 1,000 tokens", "correct": "accuracy"}
CLOSE = 0.05


def steering_findings(config: SteeringConfig, subject: Subject, study: SteeringStudy) -> Findings:
    """The page's content."""
    return Findings(
        name="steering",
        title="Steering: answers with a latent added or taken away",
        question=(
            "A latent's decoder row is added to the residual stream at every generated position. Do answers become"
            " longer or shorter, more hesitant, more often wrong, and more so than along a random direction?"
        ),
        facts=subject.facts() | _protocol(config, study),
        headline=[row for name, steered in study.groups.items() for row in _headline(name, steered, study)],
        tables=[
            table
            for name, steered in study.groups.items()
            for table in (_dose_table(name, steered, study), _pick_table(name, steered, study))
        ],
        charts=[_chart(name, steered, study) for name, steered in study.groups.items()],
        texts=[text for name, steered in study.groups.items() for text in _texts(name, steered, study)],
        results=steering_results(study) | {"settings": _protocol(config, study)},
    )


def steering_results(study: SteeringStudy) -> dict[str, Any]:
    """Every mean with its interval, as JSON: by category a list of strengths, 0 among them."""
    return {
        "steering": {name: _by_strength(steered, study) for name, steered in study.groups.items()},
        "against_chance": {
            name: {
                "latents": list(steered.latents),
                "toward": steered.toward,
                "slope": vars(_mean(steered.answers.slope(study.strengths))),
                "random_slope": vars(_mean(steered.random.slope(study.strengths))),
                "slope_minus_random": vars(advantage(steered, study)),
                "n_random_directions": len(steered.random_slopes),
                "n": len(study.questions),
            }
            for name, steered in study.groups.items()
        },
    }


def advantage(steered: Steered, study: SteeringStudy) -> Estimate:
    """How much steeper the latent is than the best random direction, in the wanted direction, question by question."""
    sign = 1.0 if steered.toward == "longer" else -1.0
    return _mean(sign * (steered.answers.slope(study.strengths) - steered.random.slope(study.strengths)))


def _by_strength(steered: Steered, study: SteeringStudy) -> list[dict[str, Any]]:
    arms = [(s, steered.answers, steered.random, i) for i, s in enumerate(study.strengths)]
    arms.append((0.0, study.unsteered, study.unsteered, 0))
    return [
        {
            "strength": strength,
            "length": float(answers.length[index].mean()),
            "accuracy": float(answers.correct[index].nanmean()),
            "hesitation_per_1k": float(answers.hesitation[index].mean()),
            "finished": float(answers.finished[index].mean()),
            "random_length": float(random.length[index].mean()),
            "random_accuracy": float(random.correct[index].nanmean()),
            "n": answers.length.shape[1],
        }
        for strength, answers, random, index in sorted(arms, key=lambda arm: arm[0])
    ]


def _protocol(config: SteeringConfig, study: SteeringStudy) -> dict[str, str]:
    drawn = "greedy" if config.temperature == 0 else f"temperature {config.temperature:g}, the same chance in all arms"
    return {
        "answers": f"{config.model} model, {drawn}, at most {config.new_tokens} new tokens",
        "questions": f"{study.development_questions} to pick directions, {len(study.questions)} others to test them",
        "strength": "in mean norms of the residual stream, at every generated position",
        "seed": str(config.seed),
    }


def _mean(values: Tensor) -> Estimate:
    known = values[~values.isnan()]
    if len(known) == 0:
        return Estimate(float("nan"))
    return Estimate(*bootstrap_mean(known, torch.Generator().manual_seed(0)))


def _headline(name: str, steered: Steered, study: SteeringStudy) -> list[Headline]:
    slope, random, better = (
        _mean(steered.answers.slope(study.strengths)),
        _mean(steered.random.slope(study.strengths)),
        advantage(steered, study),
    )
    n = len(study.questions)
    label = " + ".join(map(str, steered.latents))
    return [
        Headline(
            name=f"{name}: latent {label}",
            value=slope.value,
            low=slope.low,
            high=slope.high,
            n=n,
            unit="questions",
            note=(
                f"rise of ln(length) a unit of strength; best of {len(steered.random_slopes)} random directions"
                f" {random.value:.2f}; {_monotone(steered, study)}; {_harmless(steered, study)}"
            ),
        ),
        Headline(
            name=f"{name}: latent beyond random",
            value=better.value,
            low=better.low,
            high=better.high,
            n=n,
            unit="questions",
            note=f"difference of slopes toward {steered.toward}, question by question",
        ),
    ]


def _monotone(steered: Steered, study: SteeringStudy) -> str:
    """How many strengths on each side, from 0 outward, change the mean length in the wanted order without a break."""
    sign = 1.0 if steered.toward == "longer" else -1.0
    zero = float(study.unsteered.length[0].mean())
    counted = []
    for side in (-1, 1):
        outward = sorted((s for s in study.strengths if s * side > 0), key=abs)
        lengths = [zero, *(float(steered.answers.length[study.strengths.index(s)].mean()) for s in outward)]
        steps = [sign * side * (b - a) > 0 for a, b in pairwise(lengths)]
        counted.append(steps.index(False) if False in steps else len(steps))
    return f"monotone over {counted[0]} strengths below 0 and {counted[1]} above"


def _harmless(steered: Steered, study: SteeringStudy) -> str:
    zero = float(study.unsteered.correct[0].nanmean())
    kept = [
        f"{strength:+g}"
        for index, strength in enumerate(study.strengths)
        if float(steered.answers.correct[index].nanmean()) >= zero - CLOSE
    ]
    return f"accuracy within 5 points of unsteered at {', '.join(kept) or 'no strength'}"


def _dose_table(name: str, steered: Steered, study: SteeringStudy) -> Table:
    def cells(answers: Answers, index: int) -> list[Cell]:
        return [_mean(getattr(answers, measure)[index]) for measure in ("length", "hesitation", "correct", "finished")]

    arms = [(s, steered.answers, i) for i, s in enumerate(study.strengths)] + [(0.0, study.unsteered, 0)]
    random = [(s, steered.random, i) for i, s in enumerate(study.strengths)]
    rows: list[list[Cell]] = [[f"{s:+g}" if s else "0", *cells(a, i)] for s, a, i in sorted(arms, key=lambda x: x[0])]
    rows += [[f"random {s:+g}", *cells(a, i)] for s, a, i in sorted(random, key=lambda x: x[0])]
    return Table(
        title=f"{name}: latent {' + '.join(map(str, steered.latents))} by strength",
        columns=("strength", "length", "hesitation", "accuracy", "finished"),
        rows=rows,
        note=(
            f"Means over {len(study.questions)} questions with 95 % bootstrap intervals. length: {MEASURES['length']};"
            f" hesitation: self-reflection words per 1,000 tokens. random: the best of {len(steered.random_slopes)}"
            " random directions, turned the wanted way; its shifts have the same norms."
        ),
    )


def _pick_table(name: str, steered: Steered, study: SteeringStudy) -> Table:
    rows: list[list[Cell]] = [
        ["latent " + " + ".join(map(str, latents)), _mean(slope), "picked" if latents == steered.latents else ""]
        for latents, slope in steered.candidate_slopes.items()
    ]
    rows += [
        [f"random {number}", _mean(slope), "picked" if number == steered.random_number else ""]
        for number, slope in enumerate(steered.random_slopes)
    ]
    return Table(
        title=f"{name}: how directions were picked",
        columns=("direction", "slope", "pick"),
        rows=rows,
        note=(
            f"Rise of ln(length) a unit of strength on {study.development_questions} development questions. The latent"
            f" that moves answers most toward {steered.toward} is picked; of the random directions the steepest either"
            " way."
        ),
        detail=True,
    )


def _chart(name: str, steered: Steered, study: SteeringStudy) -> Chart:
    below = [i for i, s in enumerate(study.strengths) if s < 0]
    above = [i for i, s in enumerate(study.strengths) if s > 0]

    def line(answers: Answers, measure: str) -> list[Estimate]:
        values = getattr(answers, measure)
        rows = [*(values[i] for i in below), getattr(study.unsteered, measure)[0], *(values[i] for i in above)]
        return [_mean(row) for row in rows]

    strengths = [*(study.strengths[i] for i in below), 0.0, *(study.strengths[i] for i in above)]
    panels: Sequence[DosePanel] = [
        DosePanel(name=title, latent=line(steered.answers, measure), best_random=line(steered.random, measure))
        for measure, title in MEASURES.items()
    ]
    label = " + ".join(map(str, steered.latents))
    return Chart(
        name=f"dose_response_{name.replace(' ', '-')}",
        figure=dose_response(strengths, panels, latent=f"latent {label}"),
        caption=f"{name}: answers by strength along latent {label}, and along the best random direction.",
    )


def _texts(name: str, steered: Steered, study: SteeringStudy) -> list[SideBySide]:
    """For a middling strength of each side, the question whose answer changed in length by the median."""
    shown = []
    for side in (1, -1):
        strengths = sorted((s for s in study.strengths if s * side > 0), key=abs)
        if not strengths:
            continue
        strength = strengths[len(strengths) // 2]
        arm = study.strengths.index(strength)
        change = steered.answers.length[arm] - study.unsteered.length[0]
        question = int(change.argsort()[len(change) // 2])
        shown.append(
            SideBySide(
                title=f"{name}: {study.questions[question].question}",
                labels=("unsteered", f"strength {strength:+g} (the question of median change)"),
                texts=(study.unsteered.texts[0][question], steered.answers.texts[arm][question]),
            )
        )
    return shown
