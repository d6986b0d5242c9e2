"""The tables of the stitching page."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from statistics import fmean

from toolkit.experiments.reasoning_evaluation.tables import arms_table, paired_table
from toolkit.experiments.stitching.figures import plain_name
from toolkit.experiments.stitching.generation import StitchedAnswers
from toolkit.experiments.stitching.study import (
    BASE_TO_CONTROL,
    RANK_MARGIN,
    RIDGE,
    SELF,
    SELF_BASE,
    Measure,
    StitchedCut,
    StitchingStudy,
)
from toolkit.reports.findings import Cell, Table
from toolkit.statistics.estimates import Estimate
from toolkit.stitching.position_kinds import HESITATION, KINDS, OTHER
from toolkit.stitching.trained import Trained

MEASURES: dict[Measure, str] = {"ce": "Excess cross-entropy", "kl": "KL(receiver ‖ stitched)"}
NEGLIGIBLE = 0.001
"""Nats a token on both sides of 0 within which a control is not told more exactly."""
BELOW_SAID = (
    "Below 0 the receiver predicts better from the front's stream than from its own. It says how well a map carries the"
    " stream only where the receiver predicts the text well; KL says it everywhere."
)
MAPS_SAID = (
    "identity: the stream as it is; mean shift: moved so that the means agree; orthogonal: turned about the means;"
    " ridge: affine, by regression; trained: affine, by gradients of the cross-entropy from the ridge on, or from zero."
)


def joined(stitched: StitchedCut) -> str:
    """Which two models are joined: "base → distilled"."""
    return f"{stitched.front} → {stitched.rest}"


def main_directions(study: StitchingStudy) -> list[str]:
    """The directions that are asked about; the others are controls."""
    return [name for name in study.directions if name not in (SELF, SELF_BASE, BASE_TO_CONTROL)]


def control_directions(study: StitchingStudy) -> list[str]:
    """Each model before itself, and base before the control."""
    return [name for name in study.directions if name not in main_directions(study)]


def own_loss(stitched: StitchedCut) -> str:
    """The cross-entropy that excess is counted from."""
    said = f"{stitched.rest} as it is: {stitched.loss_a_token.value:.2f} nats a token"
    if stitched.predicts:
        return f"{said}."
    guess = log(stitched.vocabulary)
    return f"{said}, more than a uniform guess ({guess:.2f}): it cannot predict this text, so excess misleads here."


def maps_of(cuts: Mapping[int, StitchedCut]) -> list[str]:
    """The maps that any cut of a direction was tried with."""
    return list(dict.fromkeys(name for stitched in cuts.values() for name in stitched.maps))


def cut_table(study: StitchingStudy, direction: str, measure: Measure = "kl") -> Table:
    """What each map costs at each cut of a direction."""
    cuts = study.directions[direction]
    maps, first = maps_of(cuts), next(iter(cuts.values()))
    rows: list[list[Cell]] = [
        [_cut(stitched), *(stitched.cost(name, measure=measure) if name in stitched.maps else None for name in maps)]
        for stitched in cuts.values()
    ]
    said = f"{own_loss(first)} {BELOW_SAID}" if measure == "ce" else MAPS_SAID
    return Table(
        title=f"{MEASURES[measure]}, {joined(first)}",
        columns=("cut", *map(plain_name, maps)),
        rows=rows,
        note=f"Nats a token; {_sample(study, first)}. cut: the layer of {first.rest} at whose input its stream is"
        f" replaced. {said}",
    )


def control_table(study: StitchingStudy) -> Table:
    """What stitching costs where it should cost little: each model before itself, and base before the control."""
    controls = [study.directions[name] for name in control_directions(study)]
    columns = [(cuts, name) for cuts in controls for name in ("identity", RIDGE) if name in maps_of(cuts)]
    first = next(iter(controls[0].values()))
    rows: list[list[Cell]] = [
        [str(layer), *(_control_cell(cuts[layer], name) if layer in cuts else None for cuts, name in columns)]
        for layer in sorted({cut for cuts in controls for cut in cuts})
    ]
    return Table(
        title="Controls: a model before itself, and a model trained on without distillation",
        columns=("cut", *(f"{joined(next(iter(cuts.values())))}, {name}" for cuts, name in columns)),
        rows=rows,
        note=f"{MEASURES['kl']} in nats a token; {_sample(study, first)}. A model before itself by the identity"
        " computes what it always does: 0, to the last bit. What a ridge costs there is what its fit alone loses.",
    )


def _control_cell(stitched: StitchedCut, name: str) -> Cell:
    found = cost_value(stitched, name)
    if isinstance(found, int):
        return found
    ends = (found.value, found.low or 0.0, found.high or 0.0)
    return f"within ±{NEGLIGIBLE:g}" if max(map(abs, ends)) < NEGLIGIBLE else found


def cost_value(stitched: StitchedCut, name: str) -> int | Estimate:
    """What a map costs; 0 without an interval where it changes nothing, in any document."""
    found = stitched.cost(name)
    return 0 if found.value == 0 and found.low is None else found


def kind_table(study: StitchingStudy, direction: str, measure: Measure = "kl") -> Table:
    """What each map costs by kind of predicted token, at the middle cut."""
    stitched = study.at_middle(direction)
    kinds = kinds_of(stitched)
    rows: list[list[Cell]] = [
        [kind, stitched.n(kind), *(stitched.cost(name, kind, measure=measure) for name in stitched.maps)]
        for kind in kinds
    ]
    said = f" {own_loss(stitched)} {BELOW_SAID}" if measure == "ce" else ""
    return Table(
        title=f"{MEASURES[measure]} by kind of position, {joined(stitched)}, cut {stitched.cut}",
        columns=("predicted token", "n", *map(plain_name, stitched.maps)),
        rows=rows,
        note=f"Nats a token, with 95 % intervals over {_drawn(study)}.{said} {HESITATION}: a"
        " hesitation word, such as Wait, inside the thinking; it does not count as thinking too."
        + (f" {OTHER}: documents without marks of thinking." if OTHER in kinds else ""),
        detail=measure == "ce",
    )


def rank_table(study: StitchingStudy) -> Table:
    """What the ridge of the middle cut costs more when it is truncated, by rank."""
    cuts = {name: study.at_middle(name) for name in main_directions(study) if study.at_middle(name).ranks}
    ranks = sorted({rank for stitched in cuts.values() for rank in stitched.ranks})
    rows: list[list[Cell]] = [
        [str(rank), *(each.beyond_ridge(rank) if rank in each.ranks else None for each in cuts.values())]
        for rank in ranks
    ]
    needed = "; ".join(f"{joined(each)} {each.rank_needed or 'more than were tried'}" for each in cuts.values())
    return Table(
        title="What a ridge of less rank costs more than the whole one",
        columns=("rank", *(f"{joined(each)}, cut {each.cut}" for each in cuts.values())),
        rows=rows,
        note=f"{MEASURES['kl']} in nats a token, paired by document. Rank needed, to cost less than {RANK_MARGIN:g}"
        f" more, by the interval's upper end: {needed}.",
        detail=True,
    )


def distance_table(study: StitchingStudy) -> Table:
    """How far the maps of each cut are from leaving the stream as it is."""
    cuts = [stitched for name in main_directions(study) for stitched in study.directions[name].values()]
    maps = list(dict.fromkeys(name for stitched in cuts for name in stitched.from_identity if name != "identity"))
    return Table(
        title="How far the maps are from the identity",
        columns=("models, cut", *map(plain_name, maps)),
        rows=[[f"{joined(each)}, {_cut(each)}", *(each.from_identity.get(name) for name in maps)] for each in cuts],
        note="The length of what a map changes of a token, as a share of how widely tokens spread about their mean: 0"
        " for the identity, 1 for a map that forgets its input, 1.41 for a random rotation. The shift of the mean is"
        " left out.",
        detail=True,
    )


def training_table(study: StitchingStudy, trained: Mapping[str, Mapping[str, Sequence[Trained]]]) -> Table:
    """What training maps cost, from the ridge on and from zero; `trained` is by direction and map, a run for a fit."""
    rows: list[list[Cell]] = []
    most = max(len(runs) for by_map in trained.values() for runs in by_map.values())
    fits = "One fit of each map" if most == 1 else f"Means over {most} fits"
    for direction, by_map in trained.items():
        stitched = study.at_middle(direction)
        for name, runs in by_map.items():
            rows.append([
                f"{joined(stitched)}, cut {stitched.cut}",
                plain_name(name),
                fmean(each.looks[0].loss for each in runs),
                fmean(each.best.loss for each in runs),
                round(fmean(each.tokens for each in runs)),
                fmean(each.seconds for each in runs),
                _until_as_good(runs, by_map.get("trained", ())),
            ])  # fmt: skip
    return Table(
        title="What training a map costs",
        columns=("models", "map", "CE at start", "CE at best", "tokens read", "seconds", "tokens to ridge"),
        rows=rows,
        note=f"{fits}, on text that decides when training stops; CE: the stitched receiver's cross-entropy in"
        " nats a token. Training lowers the cross-entropy of the text, and KL(receiver ‖ stitched) may rise by it."
        " trained starts from the ridge, trained from zero from a map that gives the same vector whatever it reads."
        " tokens to ridge: read until the map is as good as the ridge that the other one starts from.",
    )


def _until_as_good(runs: Sequence[Trained], from_ridge: Sequence[Trained]) -> Cell:
    """Tokens until runs reach the loss that the runs of like number start from, on average; or how many do not."""
    looks = [run.reached(other.looks[0].loss) for run, other in zip(runs, from_ridge, strict=False)]
    reached = [look.tokens for look in looks if look is not None]
    if len(reached) < len(looks):
        return f"not reached by {len(looks) - len(reached)} of {len(looks)}"
    return round(fmean(reached)) if reached else None


def answers_tables(answers: Mapping[str, StitchedAnswers]) -> list[Table]:
    """What receivers answer as they are and stitched, by direction."""
    return [
        replace(
            table,
            title=f"{table.title}, {each.front} → {each.rest}, cut {each.cut}",
            note=f"{table.note} {_asked(each)}",
        )
        for each in answers.values()
        for table in (arms_table(each.measured), replace(paired_table(each.measured), detail=True))
    ]


def _asked(answers: StitchedAnswers) -> str:
    """Who answers, and how all are asked."""
    how = "for a worked solution in plain text" if answers.plainly else "up to where a model begins to think"
    alone = f" {answers.front}: that model alone." if answers.front in answers.measured.arms else ""
    return (
        f"{answers.rest}: the receiver as it is.{alone} self: the receiver before itself, by the identity. Others:"
        f" {answers.front}'s front before {answers.rest}'s rest, by that map. All are asked alike, {how}."
    )


def kinds_of(stitched: StitchedCut) -> list[str]:
    """The kinds of position that the documents have."""
    return [kind for kind in KINDS if stitched.n(kind)]


def _cut(stitched: StitchedCut) -> str:
    """The receiver's layer, and the front's where it is another."""
    if stitched.front_layer == stitched.cut:
        return str(stitched.cut)
    return f"{stitched.cut} ({stitched.front}'s {stitched.front_layer})"


def _sample(study: StitchingStudy, stitched: StitchedCut) -> str:
    return f"{stitched.n():,} predictions; 95 % intervals over {_drawn(study)}"


def _drawn(study: StitchingStudy) -> str:
    """What intervals hold: how documents vary; of maps that were fitted several times, how their fits do too."""
    fits = len(study.fitted_tokens)
    more = f"; at cut {_middle_cut(study)} also over {fits} fits of the maps in closed form" if fits > 1 else ""
    return f"{study.documents:,} documents{more}"


def _middle_cut(study: StitchingStudy) -> str:
    """The middle cuts of the main directions, which are one where the models are of one depth."""
    return " and ".join(dict.fromkeys(str(study.middle[direction]) for direction in main_directions(study)))


def tokens_said(tokens: Sequence[int]) -> str:
    """How much text each fit is from."""
    least, most = min(tokens), max(tokens)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
