"""The tables of harmonic probes."""

from collections.abc import Sequence
from math import inf

import torch

from toolkit.answers.answer_tables import Answers
from toolkit.answers.means import MEASURES, SHARES, UNIT
from toolkit.experiments.harmonic_probes.accuracy import KINDS
from toolkit.experiments.harmonic_probes.claims import best_random, beyond_random, slope
from toolkit.experiments.harmonic_probes.results import LabelFound, ProbesFound
from toolkit.experiments.harmonic_probes.steering import SteeredToCentre
from toolkit.experiments.harmonic_probes.ways import POINT, RANDOM
from toolkit.formatting import counted
from toolkit.reports.findings import Cell, Table
from toolkit.statistics.estimates import Estimate, over_seeds

INTERVALS = "95 % intervals contain how documents and draws of fitting documents vary."


def probes_table(found: ProbesFound) -> Table:
    """Both probes of every label and model at the shown layer, beside what needs no model and what should be chance."""
    rows: list[list[Cell]] = [
        [
            f"{name}, {model}",
            compared.logistic,
            compared.harmonic,
            compared.difference,
            label.token_alone.value,
            label.shuffled[model].harmonic,
            label.agreement.cosine,
        ]
        for name, label in found.labels.items()
        for model, compared in label.layers[found.layer].items()
    ]
    return Table(
        title=f"Both probes at the input of layer {found.layer}",
        columns=("label, model", *KINDS, "difference", "token alone", "shuffled", "agreement"),
        rows=rows,
        note=(
            f"Balanced accuracy on documents that neither probe was fitted on; {INTERVALS} difference: harmonic less"
            f" logistic, paired by token; {no_better(found)} token alone: the class that a token's id has most often,"
            " which needs no model. shuffled: the harmonic probe after fitting to other documents' labels, which should"
            " be chance: one over the number of classes. agreement: cosine of the steps between two centres in one"
            " model with those in the other; random directions give 0."
        ),
    )


def no_better(found: ProbesFound) -> str:
    """How often, over all labels, layers and models, one probe is better than the other by its interval."""
    n, better, worse = len(found.differences), found.better, found.worse
    return (
        f"over all labels, layers and models the harmonic probe is better in {better} of {n}, worse in {worse}, and in"
        f" the other {n - better - worse} the interval holds 0."
    )


def layers_table(name: str, label: LabelFound, found: ProbesFound) -> Table:
    """Both probes of one label at every layer of both models."""
    estimates: dict[int, list[Estimate]] = {
        layer: [getattr(by_model[model], kind) for model in found.models for kind in KINDS]
        for layer, by_model in label.layers.items()
    }
    rows: list[list[Cell]] = [
        [str(layer), *(each if each.low is not None else each.value for each in of_layer)]
        for layer, of_layer in estimates.items()
    ]
    without = {each.note: None for of_layer in estimates.values() for each in of_layer if each.low is None}
    reasons = "".join(f" Numbers without an interval: {why}." for why in without)
    classes = ", ".join(f"{class_name} {n:,}" for class_name, n in label.classes.items())
    matched = " Both classes have each token as often, so the token alone tells nothing." if label.matched else ""
    return Table(
        title=f"{name}: balanced accuracy by layer",
        columns=("layer", *(f"{kind}, {model}" for model in found.models for kind in KINDS)),
        rows=rows,
        note=f"Tokens of {label.documents:,} documents: {classes}; chance {label.chance:.2f}.{matched} {INTERVALS}"
        + reasons,
        detail=True,
    )


def data_table(found: ProbesFound) -> Table:
    """How many tokens each probe needs."""
    rows: list[list[Cell]] = []
    for name, label in found.labels.items():
        for model, data in label.data.items():
            fewest, compared = next(iter(data.by_tokens.items()))
            reached = [_tokens(data.reached[kind], max(data.by_tokens)) for kind in KINDS]
            rows.append([f"{name}, {model}", data.target, *reached, fewest, compared.difference])
    return Table(
        title="Tokens that a probe needs",
        columns=("label, model", "target", *KINDS, "fewest", "difference with the fewest"),
        rows=rows,
        note=(
            f"At the input of layer {found.layer}. target: nine tenths of the way from chance to what the logistic"
            " probe reaches with all tokens; logistic, harmonic: fitting tokens with which each reaches it. difference"
            " with the fewest: accuracy of the harmonic probe less the logistic one's, fitted on so few tokens."
        ),
    )


def _tokens(reached: float | None, most: int) -> Cell:
    return f"above {most:,}" if reached is None else round(reached)


def centres_table(found: ProbesFound) -> Table:
    """What the centres are as points: how far apart, how sure, and how like to means and directions."""
    rows: list[list[Cell]] = [
        [
            f"{name}, {model}",
            sum(each.distances.values()) / len(each.distances),
            *(each.spread_over_draws[kind] for kind in ("harmonic", "means", "logistic")),
            each.cosine_with_means,
            each.cosine_with_logistic,
        ]
        for name, label in found.labels.items()
        for model, each in label.centres.items()
    ]
    return Table(
        title="Class centres as points",
        columns=(
            "label, model", "distance", "varies", "means vary", "logistic varies", "cosine, means", "cosine, logistic",
        ),
        rows=rows,
        note=(
            f"Centres of harmonic probes at the input of layer {found.layer}. distance: of two centres on average, over"
            " the spread of a class's tokens. varies: how far a centre lies from its mean over draws of documents, over"
            " how far centres lie apart; below 1, draws agree; beside it the same of class means and of the logistic"
            " probe's directions. cosines: of the steps between two centres with those between class means, and with"
            " those between logistic directions."
        ),
    )  # fmt: skip


def shapes_table(found: ProbesFound) -> list[Table]:
    """Whether the models' centres have one shape; none where no label has three classes."""
    rows: list[list[Cell]] = [
        [
            name,
            shape.procrustes,
            shape.procrustes_permuted,
            shape.procrustes_p,
            shape.procrustes_between_draws,
            shape.distances,
            shape.distances_p,
        ]
        for name, label in found.labels.items()
        if (shape := label.agreement.shape) is not None
    ]
    table = Table(
        title=f"Do the centres have one shape in {' and '.join(found.models)}?",
        columns=("label", "Procrustes", "permuted", "p", "between draws", "distances", "p "),
        rows=rows,
        note=(
            "Procrustes: share of the variance of one model's centres that the other's explain once they are turned,"
            " moved and scaled; over draws, each model's of other documents. permuted: the same on average with classes"
            " permuted, which is high too where classes are few; p: share of permutations with as high an agreement."
            " between draws: the same within one model. distances: correlation of the distances between every two"
            " centres. Labels of two classes have no shape."
        ),
    )
    return [table] if rows else []


def words_table(found: ProbesFound) -> list[Table]:
    """The harmonic-loss paper's parallelogram loss of input embeddings; none where no class has enough pairs."""
    rows: list[list[Cell]] = [
        [name, *(cell for model in found.models for cell in (losses[model].loss_estimate, losses[model].ratio))]
        for name, losses in found.words.items()
    ]
    table = Table(
        title="Word pairs in the input embeddings",
        columns=("class", *(cell for model in found.models for cell in (model, f"{model}, ratio"))),
        rows=rows,
        note="‖a − b − c + d‖² over the mean squared norm of the words, for every two pairs (a, b), (c, d), with its"
        " 95 % interval over word pairs. ratio: over that of shuffled pairs; below 1, the pairs share a step.",
        detail=True,
    )
    return [table] if rows else []


def steering_table(steered: SteeredToCentre) -> Table:
    """Every way beside the random direction: what it does to length, hesitation and right answers."""
    top = len(steered.strengths) - 1
    rows: list[list[Cell]] = [
        [
            best_random(steered) if way == RANDOM else way,
            slope(steered, way),
            None if way == RANDOM else beyond_random(steered, way),
            *_shown(along.answers, top),
            None if way == POINT else along.cosine,
        ]
        for way, along in steered.ways.items()
    ]
    rows.append(["unsteered", None, None, *_shown([steered.unsteered], 0), None])
    away, toward = steered.distances
    return Table(
        title=f"Steering from {steered.away!r} toward {steered.toward!r}",
        columns=("way", "slope", "beyond random", "hesitation", "accuracy", "finished", "cosine"),
        rows=rows,
        note=(
            f"slope: rise of ln(length until </think>) a unit of strength, between {steered.strengths[0]:+g} and"
            f" {steered.strengths[-1]:+g} mean norms of the stream at the input of layer {steered.layer}, on"
            f" {counted(len(steered.questions), 'question')}; 95 % intervals over questions and draws of the probes."
            f" All changes are equally long on average. hesitation (words per 1,000 tokens), accuracy and finished are"
            f" those at {steered.strengths[-1]:+g}. {POINT}: every position moves a share of its way to the centre,"
            f" which is {toward:.2f} mean norms away (the other one {away:.2f}). cosine: of the direction with that"
            f" from centre to centre. The random direction was picked on {steered.development_questions} other"
            " questions; nothing was picked of the rest."
        ),
    )


def _shown(answers: Sequence[Answers], arm: int) -> tuple[Cell, Cell, Cell]:
    found = measured(answers, arm)
    return found["hesitation"], found["correct"], found["finished"].value


def measured(answers: Sequence[Answers], arm: int) -> dict[str, Estimate]:
    """The mean of each measure of answers over draws and questions, in one arm, with its interval."""
    return {
        measure: over_seeds(torch.stack([getattr(each, measure)[arm] for each in answers]), unit=UNIT).within(
            0.0, 1.0 if measure in SHARES else inf
        )
        for measure in MEASURES
    }
