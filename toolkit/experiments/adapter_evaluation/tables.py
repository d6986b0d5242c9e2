"""The tables of the page of an adapter's evaluation."""

from collections.abc import Sequence
from math import isnan

from toolkit.experiments.adapter_evaluation.answers import MEASURED, MODES, ModeAnswers
from toolkit.experiments.adapter_evaluation.claims import RECOVERED
from toolkit.experiments.adapter_evaluation.closeness import (
    FIRST,
    HYBRID,
    LAST,
    SHUFFLED,
    SINGLE,
    WITHOUT,
    Closeness,
    Yardsticks,
    nmse,
)
from toolkit.experiments.adapter_evaluation.sweep import Swept
from toolkit.reports.findings import Cell, Table
from toolkit.statistics.estimates import Estimate

PAIRS = (("adapter", "hybrid"), ("distilled", "adapter"), ("distilled", "hybrid"))
NAMES = {"length": "length", "correct": "accuracy", "hesitation": "hesitation", "finished": "finished"}


def answers_table(answers: ModeAnswers, asked: str) -> Table:
    """Each mode's answers, and their differences question by question."""
    rows: list[list[Cell]] = [[mode, *(_cell(answers.means(mode)[measure]) for measure in MEASURED)] for mode in MODES]
    rows += [
        [f"{mode} − {less}", *(_cell(answers.difference(measure, mode, less)) for measure in MEASURED)]
        for mode, less in PAIRS
    ]
    rows.append(["share recovered", *(_cell(answers.recovered(measure)) for measure in MEASURED)])
    return Table(
        title="Answers",
        columns=("model", *(NAMES[measure] for measure in MEASURED)),
        rows=rows,
        note=(
            f"Means and shares of questions with 95 % intervals over questions; {asked}. length: tokens until </think>,"
            " or all where it is not written; accuracy: an answer counts where it comes after </think> and ends by"
            " itself; hesitation: self-reflection words per 1,000 tokens; finished: answers that end by themselves."
            " Differences are paired by question. Where no two answers differ, a mean has no interval. share recovered:"
            " (adapter − hybrid) / (distilled − hybrid). hybrid: the distilled model with the base model's MLPs;"
            " adapter: the hybrid with the transcoders."
        ),
    )


def _cell(estimate: Estimate) -> Cell:
    """An estimate, or its value alone where it has no interval; nothing where it is not known."""
    if isnan(estimate.value):
        return None
    return estimate.value if estimate.low is None else estimate


def predictions_table(closeness: Closeness, yardsticks: Yardsticks) -> Table:
    """KL from the distilled model of the adapter, and of what it must beat."""
    sums = yardsticks.kl | {"adapter": closeness.fidelity.kl}
    return Table(
        title="Predictions on held-out text",
        columns=("model", "KL", "share recovered"),
        rows=[
            [name, yardsticks.per_token(kl), None if name == HYBRID else yardsticks.recovered(kl)]
            for name, kl in sums.items()
        ],
        note=(
            f"KL(distilled ‖ model) in nats a token, n = {int(yardsticks.predictions.sum()):,} predictions in"
            f" {len(yardsticks.predictions):,} documents, with 95 % intervals over documents. share recovered: of the"
            f" hybrid's KL. decoder biases alone: no latent adds anything. {SHUFFLED}: latents fire by their own"
            " encoders, and each adds another one's decoder row, so that L0 at the first layer and the rows' norms are"
            " the adapter's; dealt out once among the latents that fire, layer by layer."
        ),
    )


def layers_table(closeness: Closeness, yardsticks: Yardsticks) -> Table:
    """What is known of each layer."""
    fidelity, hybrid = closeness.fidelity, yardsticks.hybrid
    parts = yardsticks.partial
    columns = (
        closeness.l0_by_layer,
        closeness.dead,
        nmse(fidelity, sink=True),
        nmse(fidelity, sink=False),
        nmse(hybrid, sink=False),
        [yardsticks.per_token(each) for each in parts[SINGLE]],
        [yardsticks.per_token(each) for each in parts[WITHOUT]],
    )
    return Table(
        title="By layer",
        columns=("layer", "L0", "dead", "NMSE", "without sink", "hybrid", "KL, alone", "no transcoder"),
        rows=[[str(layer), *cells] for layer, cells in enumerate(zip(*columns, strict=True))],
        note=(
            f"n = {int(closeness.firings.tokens.sum()):,} tokens; 95 % intervals over documents. L0: latents that fire"
            f" on a token. dead: of {closeness.firings.by_latent.shape[1]:,} latents, those that fired on none of these"
            " tokens. NMSE: Σ‖h − h_distilled‖² / Σ‖h_distilled‖² of the layer's output, of each document, which the"
            " first token dominates where it is an attention sink; without sink: the mean of each other token's ratio;"
            " hybrid: the same of the hybrid. KL, alone: nats a token where this layer alone is"
            " replaced; no transcoder: where it has the base model's MLP and no transcoder."
        ),
    )


def partial_table(yardsticks: Yardsticks) -> Table:
    """KL by how many layers are replaced, from either end."""
    first, last = ([yardsticks.per_token(each) for each in yardsticks.partial[name]] for name in (FIRST, LAST))
    return Table(
        title="Some layers replaced",
        columns=("layers", FIRST, LAST),
        rows=[[str(k), *cells] for k, cells in enumerate(zip(first, last, strict=True))],
        note=(
            "KL(distilled ‖ model) in nats a token, where k layers have the base model's MLP and the transcoder, and"
            " the others the distilled model's MLP; 95 % intervals over documents."
        ),
        detail=True,
    )


def sweep_table(swept: Sequence[Swept]) -> Table:
    """Adapters by L0."""
    enough = [each for each in swept if each.recovered.value >= RECOVERED]
    sure = [each for each in enough if each.recovered.low is not None and each.recovered.low >= RECOVERED]
    said = f"at least {RECOVERED:.0%} of the accuracy gap is recovered"
    least = f"Least L0 at which {said}: {enough[0].l0.value:.3g}" if enough else f"At no L0 {said}"
    least += f"; by the lower end of the interval: {sure[0].l0.value:.3g}" if sure else "; by its interval at none"
    return Table(
        title="Adapters by λ",
        columns=("adapter", "λ", "L0", "KL", "dead", "accuracy", "recovered", "length", "ratio", "hesitation"),
        rows=[
            [
                each.name,
                each.coefficient,
                each.l0,
                each.kl,
                each.dead,
                each.means["correct"],
                each.recovered,
                each.means["length"],
                each.length_ratio,
                each.means["hesitation"],
            ]
            for each in swept
        ],
        note=(
            f"{least}. The same documents and questions for all. L0: a token and layer; dead: of"
            f" {swept[0].n_latents:,} latents; recovered: share of the accuracy that the distilled model has beyond the"
            " hybrid; ratio: length over the distilled model's."
        ),
    )
