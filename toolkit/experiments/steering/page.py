"""The steering page: does the latent beat chance, what happens by strength, and what the answers read like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan
from typing import Any

from toolkit.experiments.run import Run
from toolkit.experiments.steering import SteeringConfig
from toolkit.experiments.steering.study import Steered, SteeringStudy
from toolkit.reports.figures import DosePanel, dose_response
from toolkit.reports.findings import Cell, Chart, Findings, Headline, SideBySide, Table, left_out_tables
from toolkit.statistics.estimates import Estimate, mean

SHOWN = {"length": "tokens until </think>", "hesitation": "hesitation per 1,000 tokens", "correct": "accuracy"}
MEASURES = {"length": "length", "correct": "accuracy", "hesitation": "hesitation_per_1k", "finished": "finished"}
"""The measures of answers, with their names in the results."""
CLOSE = 0.05


@dataclass(frozen=True, kw_only=True)
class Dose:
    """Means over the questions at one strength, by measure; at 0 both arms are the unsteered answers."""

    strength: float
    latent: Mapping[str, Estimate]
    random: Mapping[str, Estimate]


def by_strength(steered: Steered, study: SteeringStudy) -> list[Dose]:
    """Both arms at every strength in rising order, 0 among them."""
    arms = [
        (s, steered.answers.arms(slice(i, i + 1)), steered.random.arms(slice(i, i + 1)))
        for i, s in enumerate(study.strengths)
    ]
    arms.append((0.0, study.unsteered, study.unsteered))
    return [
        Dose(
            strength=strength,
            latent={measure: mean(getattr(latent, measure)[0]) for measure in MEASURES},
            random={measure: mean(getattr(random, measure)[0]) for measure in MEASURES},
        )
        for strength, latent, random in sorted(arms, key=lambda arm: arm[0])
    ]


def page(settings: SteeringConfig, run: Run, study: SteeringStudy) -> Findings:
    """The page's content."""
    doses = {name: by_strength(steered, study) for name, steered in study.groups.items()}
    return Findings(
        name="steering",
        title="Steering: answers with a latent added or taken away",
        question=(
            "A latent's decoder row is added to the residual stream at every generated position. Do answers become"
            " longer or shorter, more hesitant, more often wrong, and more so than along a random direction?"
        ),
        facts=run.facts() | _protocol(settings, study),
        headline=[row for name in doses for row in _headline(name, study, doses[name])],
        tables=[
            *(
                table
                for name, steered in study.groups.items()
                for table in (
                    _dose_table(name, steered, doses[name], _questions(settings, study)),
                    _pick_table(name, steered, study),
                )
            ),
            *left_out_tables("category", study.left_out),
        ],
        charts=[_chart(name, steered, doses[name]) for name, steered in study.groups.items()],
        texts=[text for name, steered in study.groups.items() for text in _texts(name, steered, study)],
        results=steering_results(study, doses)
        | {"settings": _protocol(settings, study), "left_out": dict(study.left_out)},
    )


def steering_results(study: SteeringStudy, doses: Mapping[str, Sequence[Dose]]) -> dict[str, Any]:
    """Every mean with its interval: by category a list of strengths, 0 among them."""
    n = len(study.questions)
    return {
        "steering": {name: [_dose_results(dose, n) for dose in of_group] for name, of_group in doses.items()},
        "against_chance": {
            name: {
                "latents": list(steered.latents),
                "toward": steered.toward,
                "slope": mean(steered.answers.slope(study.strengths)),
                "random_slope": mean(steered.random.slope(study.strengths)),
                "slope_minus_random": advantage(steered, study),
                "n_random_directions": len(steered.random_slopes),
                "n": n,
            }
            for name, steered in study.groups.items()
        },
    }


def _dose_results(dose: Dose, n: int) -> dict[str, Any]:
    estimates = {name: dose.latent[measure] for measure, name in MEASURES.items()}
    estimates |= {f"random_{name}": dose.random[measure] for measure, name in MEASURES.items()}
    values = {name: estimate.value for name, estimate in estimates.items()}
    return {"strength": dose.strength, **values, "n": n, "intervals": estimates}


def advantage(steered: Steered, study: SteeringStudy) -> Estimate:
    """How much steeper the latent is than the best random direction, in the wanted direction, question by question."""
    sign = 1.0 if steered.toward == "longer" else -1.0
    return mean(sign * (steered.answers.slope(study.strengths) - steered.random.slope(study.strengths)))


def _protocol(settings: SteeringConfig, study: SteeringStudy) -> dict[str, str]:
    drawn = (
        "greedy" if settings.temperature == 0 else f"temperature {settings.temperature:g}, the same seeds in all arms"
    )
    return {
        "answers": f"{settings.model} model, {drawn}, at most {settings.new_tokens} new tokens",
        "questions": _questions(settings, study),
        "strength": "in mean norms of the residual stream, at every generated position",
        "seed": str(settings.seed),
    }


def _questions(settings: SteeringConfig, study: SteeringStudy) -> str:
    """How many questions there are, and whether more were asked for."""
    n = len(study.questions)
    short = f" ({settings.test} were asked for: give more with --questions)" if n < settings.test else ""
    return f"{study.development_questions} to pick directions, {n} others to test them{short}"


def _best_random(steered: Steered) -> str:
    n = len(steered.random_slopes)
    return f"the best of {n} random directions" if n > 1 else "the one random direction"


def _headline(name: str, study: SteeringStudy, doses: Sequence[Dose]) -> list[Headline]:
    steered = study.groups[name]
    random = mean(steered.random.slope(study.strengths))
    n = len(study.questions)
    return [
        Headline(
            name=f"{name}: latent {' + '.join(map(str, steered.latents))}",
            value=mean(steered.answers.slope(study.strengths)),
            n=n,
            unit="questions",
            note=(
                f"rise of ln(length) a unit of strength; {_best_random(steered)} {random.value:.2f};"
                f" {_monotone(steered, study)}; {_harmless(doses)}"
            ),
        ),
        Headline(
            name=f"{name}: latent beyond random",
            value=advantage(steered, study),
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


def _harmless(doses: Sequence[Dose]) -> str:
    accuracy = {dose.strength: dose.latent["correct"].value for dose in doses}
    unsteered = accuracy.pop(0.0)
    if isnan(unsteered):
        return "accuracy not known"
    kept = [f"{strength:+g}" for strength, value in accuracy.items() if value >= unsteered - CLOSE]
    return f"accuracy at most {100 * CLOSE:g} points below unsteered at {', '.join(kept) or 'no strength'}"


def _dose_table(name: str, steered: Steered, doses: Sequence[Dose], questions: str) -> Table:
    columns = ("length", "hesitation", "correct", "finished")
    rows: list[list[Cell]] = [
        [f"{dose.strength:+g}" if dose.strength else "0", *(dose.latent[measure] for measure in columns)]
        for dose in doses
    ]
    rows += [
        [f"random {dose.strength:+g}", *(dose.random[measure] for measure in columns)]
        for dose in doses
        if dose.strength
    ]
    return Table(
        title=f"{name}: latent {' + '.join(map(str, steered.latents))} by strength",
        columns=("strength", "length", "hesitation", "accuracy", "finished"),
        rows=rows,
        note=(
            f"Means over questions with 95 % bootstrap intervals; {questions}. length: {SHOWN['length']}; hesitation:"
            f" self-reflection words per 1,000 tokens. random: {_best_random(steered)}, turned the wanted way; its"
            " shifts have the same norms."
        ),
    )


def _pick_table(name: str, steered: Steered, study: SteeringStudy) -> Table:
    rows: list[list[Cell]] = [
        ["latent " + " + ".join(map(str, latents)), mean(slope), "picked" if latents == steered.latents else ""]
        for latents, slope in steered.candidate_slopes.items()
    ]
    rows += [
        [f"random {number}", mean(slope), "picked" if number == steered.random_number else ""]
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


def _chart(name: str, steered: Steered, doses: Sequence[Dose]) -> Chart:
    panels = [
        DosePanel(
            name=title,
            latent=[dose.latent[measure] for dose in doses],
            best_random=[dose.random[measure] for dose in doses],
        )
        for measure, title in SHOWN.items()
    ]
    label = " + ".join(map(str, steered.latents))
    return Chart(
        name=f"dose_response_{name}",
        figure=dose_response([dose.strength for dose in doses], panels, latent=f"latent {label}"),
        caption=f"{name}: answers by strength along latent {label}, and along {_best_random(steered)}.",
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
