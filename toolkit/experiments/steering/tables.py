"""The tables of the steering page."""

from collections.abc import Mapping, Sequence

from toolkit.experiments.steering.besides import Besides
from toolkit.experiments.steering.claims import best_of, seeds_mean
from toolkit.experiments.steering.costs import Cost
from toolkit.experiments.steering.doses import Dose
from toolkit.experiments.steering.study import RANDOM, Steered, SteeringStudy
from toolkit.reports.findings import Cell, Table
from toolkit.statistics.estimates import mean

LENGTH = "tokens until </think>"
TONED = "doubtful answers: AUROC of the latent's mean activation over an answer, for doubtful answers among sure ones. "


def label(steered: Steered) -> str:
    """The latents that were picked: "latent 5", "latent 5 + 8"."""
    return str(steered.own.direction)


def dose_table(name: str, steered: Steered, doses: Sequence[Dose], questions: str) -> Table:
    """Both arms by strength."""
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
        title=f"{name}: {label(steered)} by strength",
        columns=("strength", "length", "hesitation", "accuracy", "finished"),
        rows=rows,
        note=(
            f"Means and shares of questions with 95 % intervals over questions, given this crosscoder; {questions}."
            f" length: {LENGTH}; hesitation: self-reflection words per 1,000 tokens. random:"
            f" {best_of(RANDOM, steered.controls[RANDOM])}, turned the wanted way; its shifts have the same norms."
        ),
    )


def cost_table(name: str, steered: Steered, found: Sequence[Cost]) -> Table:
    """What each strength costs, against the unsteered answers to the same questions."""
    return Table(
        title=f"{name}: what {label(steered)} costs",
        columns=(
            "strength", "accuracy", "finished", "length, right in both", "n right", "length, others", "n others",
        ),
        rows=[
            [
                f"{cost.strength:+g}",
                cost.accuracy,
                cost.finished,
                cost.length_right,
                cost.n_right,
                cost.length_other,
                cost.n_other,
            ]
            for cost in found
        ],
        note=(
            "Changes from the unsteered answers to the same questions, with 95 % intervals over questions, given this"
            f" crosscoder. length: {LENGTH}. right in both: questions that are answered rightly with steering and"
            " without it; others: those that are answered wrongly in either arm. Where only the others change, the"
            " length tells of mistakes and not of longer thought."
        ),
    )  # fmt: skip


def besides_table(study: SteeringStudy, found: Mapping[str, Besides]) -> Table:
    """What else is known of each latent that steers."""
    toned = any(each.doubtful for each in found.values())
    return Table(
        title="What the latent does besides",
        columns=(
            "latent",
            *(["doubtful answers"] if toned else []),
            "before its words",
            "ablated alone",
            "words",
            "NRN",
        ),
        rows=[
            [
                f"{name}: {label(study.groups[name])}",
                *([each.doubtful] if toned else []),
                each.before_words,
                each.ablated,
                each.n_words,
                each.nrn,
            ]
            for name, each in found.items()
        ],
        note=(
            f"{TONED if toned else ''}before its words: AUROC of its activation for the positions that predict the"
            " category's words; .5 is chance. ablated alone: change of the logit of the category's undecided words when"
            " this latent is taken out; 0 where the words do not need it. A latent that steers, with chance and 0 here,"
            " moves answers and does not carry what it is named for. All of it given this crosscoder."
        ),
    )


def seed_table(study: SteeringStudy) -> Table:
    """The same procedure for the crosscoder of each seed."""
    rows: list[list[Cell]] = []
    for name, steered in study.groups.items():
        random = steered.controls[RANDOM].slope
        for seed, pick in steered.seeds.items():
            beyond = mean(steered.sign * (pick.slope - random), unit="question")
            rows.append([f"{name}, seed {seed}", str(pick.direction), mean(pick.slope, unit="question"), beyond])
        if len(steered.seeds) > 1:
            slopes = steered.slopes
            rows.append([f"{name}, all seeds", "", seeds_mean(slopes), seeds_mean(steered.sign * (slopes - random))])
    return Table(
        title="By seed of the crosscoder",
        columns=("crosscoder", "picked", "slope", "beyond random"),
        rows=rows,
        note=(
            f"Rise of ln(length) a unit of strength, {between(study)}. Candidates are chosen, and the best is picked,"
            " for each crosscoder anew; they differ in their initial weights alone. Intervals of one seed are over"
            " questions; those of all seeds contain how seeds and questions vary."
        ),
    )


def between(study: SteeringStudy) -> str:
    """Between which strengths slopes are measured."""
    low, *_, high = sorted(study.slope_strengths)
    return f"from {low:+g} to {high:+g}"


def pick_table(name: str, steered: Steered, study: SteeringStudy) -> Table:
    """All directions that the picked ones were picked from."""
    rows: list[list[Cell]] = []
    for what, pick in ({f"seed {seed}": each for seed, each in steered.seeds.items()} | steered.controls).items():
        for direction, slope in pick.development.items():
            picked = "picked" if direction == pick.direction else ""
            rows.append([f"{direction}, {what}", mean(slope, unit="question"), picked])
    return Table(
        title=f"{name}: how directions were picked",
        columns=("direction", "slope", "pick"),
        rows=rows,
        note=(
            f"Rise of ln(length) a unit of strength, {between(study)}, on {study.development_questions} development"
            f" questions. The latent that moves answers most toward {steered.toward} is picked; of controls the"
            " steepest either way."
        ),
        detail=True,
    )
