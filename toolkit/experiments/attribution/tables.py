"""Tables of an attribution graph: its strongest edges in words, how complete it is, and what tests of edges found."""

from collections.abc import Mapping

import torch

from toolkit.adapters.latent_names import latent_name
from toolkit.adapters.modes import Latent
from toolkit.attribution.graph import AttributionGraph
from toolkit.attribution.supernodes import BY_CHANCE, Supernodes
from toolkit.experiments.attribution.measure import AttributionFound
from toolkit.experiments.attribution.study import Agreement, EdgeTests
from toolkit.formatting import number, percent
from toolkit.reports.findings import Cell, Share, Table
from toolkit.reports.graph_page import LatentNotes

Notes = Mapping[Latent, LatentNotes]

LISTED = 10
MOST_LISTED = 50
WAYS = {
    "free": "all else follows, as in the model",
    "held": "other latents keep their activations",
    "frozen": "attention, norms and gates are kept too",
}


def in_words(graph: AttributionGraph, node: int, notes: Notes | None = None) -> str:
    """What a reader calls a node: layer and index of a latent, the word that it stands on, and what it promotes."""
    match graph.kind(node):
        case "latent":
            layer, position, index = graph.latents[node].tolist()
            words = f"latent {latent_name((layer, index))} at “{graph.tokens[position]}”, position {position}"
            note = (notes or {}).get((layer, index))
            return f"{words}, promotes “{note.promoted[0][0]}”" if note and note.promoted else words
        case "token":
            position = node - graph.first_token
            return f"the word “{graph.tokens[position]}”, position {position}"
        case "bias":
            return "the biases"
        case "logit":
            return f"next token “{graph.logit_tokens[node - graph.first_logit]}”"


def strongest_edges(graph: AttributionGraph, logit: int, notes: Notes, *, detail: bool = False) -> Table:
    """The strongest edges into a logit, given by its place among the graph's logits."""
    node = graph.first_logit + logit
    edges = (graph.edges[:, 1] == node).nonzero()[:, 0]
    sizes = graph.weights[edges].abs()
    order = sizes.argsort(descending=True, stable=True)[:LISTED]
    rows: list[list[Cell]] = [
        [
            in_words(graph, int(graph.edges[edge, 0]), notes),
            Share(number(float(graph.weights[edge])), float(size / sizes.sum())),
        ]
        for edge, size in zip(edges[order], sizes[order], strict=True)
    ]
    return Table(
        title=f"What made “{graph.logit_tokens[logit]}”",
        columns=("from", "weight, share"),
        rows=rows,
        note=f"The {len(rows)} strongest of {len(edges)} kept edges. weight: what the source adds to the token's logit"
        " less the mean of all logits. share: of the sum of the kept edges' sizes.",
        detail=detail,
    )


def completeness_table(found: AttributionFound) -> Table:
    """Each explained token in each model: its probability, and what the kept edges sum to."""
    graphs = (found.graph, *found.compared.values())
    rows = [row for place in range(len(found.graph.logit_ids)) for row in _completeness_rows(graphs, place)]
    return Table(
        title="How complete the kept edges are",
        columns=("next token", "model", "probability", "logit", "from latents", "from tokens", "from biases", "kept"),
        rows=rows,
        note="logit: less the mean of all logits. from: sums of kept edges. kept: these sums over the logit; it can"
        " exceed 100 %, since edges of both signs are left out.",
        detail=True,
    )


def _completeness_rows(graphs: tuple[AttributionGraph, ...], place: int) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for graph in graphs:
        node = graph.first_logit + place
        into = graph.edges[:, 1] == node
        source, weights = graph.edges[into, 0], graph.weights[into]
        is_latent, is_bias = source < graph.first_token, source == graph.bias
        parts = (is_latent, ~is_latent & ~is_bias, is_bias)
        value, token = float(graph.target_values[node]), f"“{graph.logit_tokens[place]}”"
        sums: list[Cell] = [float(weights[part].sum()) for part in parts]
        kept = percent(float(weights.sum()) / value) if value else None
        rows.append([token, graph.model, percent(graph.probabilities[place]), value, *sums, kept])
    return rows


def agreement_table(tests: EdgeTests) -> Table:
    """Predicted against measured changes, by what is left free to follow, with the control."""
    free, frozen = tests.agreement["free"], tests.agreement["frozen"]  # frozen is exact: an interval would be rounding
    rows: list[list[Cell]] = [
        _agreement_row(f"free: {WAYS['free']}", free),
        _agreement_row("free, edges into next tokens", tests.to_logits),
        _agreement_row("free, edges into latents", tests.to_latents),
        _agreement_row(f"held: {WAYS['held']}", tests.agreement["held"]),
        [f"frozen: {WAYS['frozen']}", frozen.slope.value, frozen.r.value, frozen.n, frozen.sources],
        _agreement_row("control: free, predictions of other edges", tests.shuffled),
    ]
    share = tests.without_edge
    without = "" if share is None else f" The change without an edge is {percent(share)} of that of a tested one."
    return Table(
        title="Edges tested by taking out what their latents add",
        columns=("where the change is measured", "slope", "r", "edges", "source latents"),
        rows=rows,
        note=f"slope: measured change over predicted, 1 where they are equal.{without} Intervals take source latents as"
        " samples, on this one prompt.",
    )


def _agreement_row(name: str, found: Agreement) -> list[Cell]:
    return [name, found.slope, found.r, found.n, found.sources]


def tested_edges(graph: AttributionGraph, tests: EdgeTests, notes: Notes) -> Table:
    """Each tested edge with its predicted and its measured change."""
    order = tests.predicted.abs().argsort(descending=True, stable=True)[:MOST_LISTED]
    rows: list[list[Cell]] = [
        [
            in_words(graph, int(tests.edges[place, 0]), notes),
            in_words(graph, int(tests.edges[place, 1])),
            float(tests.predicted[place]),
            float(tests.measured["free"][place]),
        ]
        for place in order
    ]
    return Table(
        title="Tested edges",
        columns=("from", "to", "predicted", "measured"),
        rows=rows,
        note=f"The {len(rows)} strongest of {len(tests.predicted)}: by how much the target falls without the source.",
        detail=True,
    )


def alike_table(graph: AttributionGraph, alike: Supernodes) -> Table:
    """Groups of latents whose edges are alike."""
    rows: list[list[Cell]] = [
        [name, ", ".join(_names(graph, group)), len(group)]
        for name, group in zip(alike.names(graph), alike.groups, strict=True)
    ]
    return Table(
        title="Latents with edges alike",
        columns=("group", "latents", "n"),
        rows=rows,
        note=f"{percent(alike.share)} of {alike.compared} latents are in a group; in graphs with shuffled edges"
        f" {percent(alike.shuffled_share)}, where {percent(BY_CHANCE)} were aimed at. Least mean cosine:"
        f" {number(alike.least_cosine)}.{_one_word(alike)}",
        detail=True,
    )


def _one_word(alike: Supernodes) -> str:
    if not alike.groups:
        return ""
    return (
        f" {percent(alike.one_word)} of the grouped latents stand on their group's most common word; where they are"
        f" dealt to groups at random, {percent(alike.one_word_by_chance)} do."
    )


def _names(graph: AttributionGraph, group: tuple[int, ...]) -> list[str]:
    layers_and_indices = graph.latents[torch.tensor(group)][:, [0, 2]].tolist()
    return list(dict.fromkeys(latent_name((layer, index)) for layer, index in layers_and_indices))
