"""The steering page: does the latent beat chance, what it costs, what else it does, and what the answers read like."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from toolkit.answers.means import MEASURES
from toolkit.experiments.run import Run
from toolkit.experiments.steering import SteeringConfig
from toolkit.experiments.steering.claims import best_of, claims, findings, seeds_mean
from toolkit.experiments.steering.costs import Cost, costs, kept_accuracy, known
from toolkit.experiments.steering.doses import Dose, by_strength
from toolkit.experiments.steering.exports import loading_code, vector_files
from toolkit.experiments.steering.measure import Measured
from toolkit.experiments.steering.study import RANDOM, Steered, SteeringStudy
from toolkit.experiments.steering.tables import (
    LENGTH,
    besides_table,
    between,
    cost_table,
    dose_table,
    label,
    pick_table,
    seed_table,
)
from toolkit.reports.figures import DosePanel, dose_response
from toolkit.reports.findings import Chart, Findings, Headline, SideBySide, left_out_tables
from toolkit.reports.verdicts import verdict_results, verdict_table
from toolkit.statistics.estimates import GIVEN_ONE, Estimate, mean

SHOWN = {"length": LENGTH, "hesitation": "hesitation per 1,000 tokens", "correct": "accuracy"}


def page(settings: SteeringConfig, run: Run, found: Measured) -> Findings:
    """The page's content."""
    study = found.study
    doses = {name: by_strength(steered, study) for name, steered in study.groups.items()}
    prices = {name: costs(steered, study) for name, steered in study.groups.items()}
    claimed = claims(study)
    return Findings(
        name="steering",
        title="Steering: answers with a latent added or taken away",
        question=(
            "A latent's decoder row is added to the residual stream at every generated position. Do answers become"
            " longer or shorter, more hesitant, more often wrong, and more so than along a random direction?"
        ),
        facts=run.facts() | _protocol(settings, study),
        headline=[row for name in doses for row in _headline(name, study, prices[name])],
        tables=[
            verdict_table(claimed, note=_one_finding(study)),
            *(
                table
                for name, steered in study.groups.items()
                for table in (
                    *([cost_table(name, steered, prices[name])] if known(prices[name]) else []),
                    dose_table(name, steered, doses[name], _questions(settings, study)),
                    pick_table(name, steered, study),
                )
            ),
            besides_table(study, found.besides),
            seed_table(study),
            *left_out_tables("what", study.left_out),
        ],
        charts=[_chart(name, steered, doses[name]) for name, steered in study.groups.items()],
        texts=[text for name, steered in study.groups.items() for text in _texts(name, steered, study)],
        code=loading_code(settings, run, found),
        files=vector_files(settings, run, found),
        claims=claimed,
        results=steering_results(study, doses)
        | {
            "costs": {name: [vars(cost) for cost in of_group] for name, of_group in prices.items()},
            "besides": {name: vars(each) for name, each in found.besides.items()},
            "verdicts": verdict_results(claimed),
            "settings": _protocol(settings, study),
            "left_out": dict(study.left_out),
        },
    )


def steering_results(study: SteeringStudy, doses: Mapping[str, Sequence[Dose]]) -> dict[str, Any]:
    """Every mean with its interval: by category a list of strengths, 0 among them."""
    n = len(study.questions)
    return {
        "steering": {name: [_dose_results(dose, n) for dose in of_group] for name, of_group in doses.items()},
        "against_chance": {name: _against_chance(steered, n) for name, steered in study.groups.items()},
        "seeds": {
            name: {
                str(seed): {
                    "latents": list(pick.direction.numbers),
                    "slope": mean(pick.slope, unit="question"),
                    "slope_minus_random": mean(
                        steered.sign * (pick.slope - steered.controls[RANDOM].slope), unit="question"
                    ),
                }
                for seed, pick in steered.seeds.items()
            }
            for name, steered in study.groups.items()
        },
    }


def _against_chance(steered: Steered, n: int) -> dict[str, Any]:
    """Slopes over all seeds, beside the controls'."""
    return {
        "latents": list(steered.latents),
        "toward": steered.toward,
        "slope": seeds_mean(steered.slopes),
        "random_slope": mean(steered.controls[RANDOM].slope, unit="question"),
        "slope_minus_random": advantage(steered),
        "n_random_directions": len(steered.controls[RANDOM].development),
        "controls": {
            kind: {
                "direction": str(control.direction),
                "n": len(control.development),
                "slope": mean(control.slope, unit="question"),
                "slope_minus_control": advantage(steered, kind),
            }
            for kind, control in steered.controls.items()
        },
        "n": n,
    }


def _dose_results(dose: Dose, n: int) -> dict[str, Any]:
    estimates = {name: dose.latent[measure] for measure, name in MEASURES.items()}
    estimates |= {f"random_{name}": dose.random[measure] for measure, name in MEASURES.items()}
    values = {name: estimate.value for name, estimate in estimates.items()}
    return {"strength": dose.strength, **values, "n": n, "intervals": estimates}


def advantage(steered: Steered, kind: str = RANDOM) -> Estimate:
    """How much steeper the latents of all seeds are than the best control of a kind, in the wanted direction."""
    return seeds_mean(steered.sign * (steered.slopes - steered.controls[kind].slope))


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


def _one_finding(study: SteeringStudy) -> str:
    """What is said where one latent was picked for several categories."""
    shared = [each for each in findings(study) if len(each.groups) > 1]
    return " ".join(
        f"Latent {' + '.join(map(str, each.latents))} was picked for {' and '.join(each.groups)}: that is one finding,"
        " and counts once."
        for each in shared
    )


def _headline(name: str, study: SteeringStudy, prices: Sequence[Cost]) -> list[Headline]:
    steered = study.groups[name]
    n = len(study.questions)
    others = "; ".join(
        f"{best_of(kind, control)} {float(control.slope.mean()):.2f}" for kind, control in steered.controls.items()
    )
    return [
        Headline(
            name=f"{name}: {label(steered)}",
            value=seeds_mean(steered.slopes),
            n=n,
            unit="questions",
            note=(
                f"rise of ln(length) a unit of strength, {between(study)}, {_over(steered)}; {others};"
                f" {_monotone(steered, study)}; {_harmless(prices)}"
            ),
        ),
        Headline(
            name=f"{name}: latent beyond random",
            value=advantage(steered),
            n=n,
            unit="questions",
            note=f"difference of slopes toward {steered.toward}, question by question, {_over(steered)}",
        ),
    ]


def _over(steered: Steered) -> str:
    """What the interval of a slope contains."""
    if len(steered.seeds) == 1:
        return GIVEN_ONE
    latents = ", ".join("+".join(map(str, pick.direction.numbers)) for pick in steered.seeds.values())
    return f"over {len(steered.seeds)} crosscoders (latents {latents})"


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


def _harmless(prices: Sequence[Cost]) -> str:
    """The strongest strengths up to which accuracy does not fall by its interval."""
    if not known(prices):
        return "accuracy not known"
    if all(cost.accuracy.high is None for cost in prices):
        return "too few questions to say whether accuracy falls"
    kept = [cost for side in (-1, 1) if (cost := kept_accuracy(prices, side))]
    if not kept:
        return "accuracy falls at every strength"
    said = " and ".join(f"{cost.strength:+g} (change {cost.accuracy.value:+.2f})" for cost in kept)
    return f"accuracy is not below unsteered, by its interval, up to {said}"


def _chart(name: str, steered: Steered, doses: Sequence[Dose]) -> Chart:
    panels = [
        DosePanel(
            name=title,
            latent=[dose.latent[measure] for dose in doses],
            best_random=[dose.random[measure] for dose in doses],
        )
        for measure, title in SHOWN.items()
    ]
    random = best_of(RANDOM, steered.controls[RANDOM])
    return Chart(
        name=f"dose_response_{name}",
        figure=dose_response([dose.strength for dose in doses], panels, latent=label(steered)),
        caption=f"{name}: answers by strength along {label(steered)}, and along {random}.",
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
