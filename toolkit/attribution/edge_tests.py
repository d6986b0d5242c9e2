"""Tests edges by intervention: what happens to their targets when what their sources add is taken out."""

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.attribution.decoder_layer import normed
from toolkit.attribution.graph import AttributionGraph
from toolkit.attribution.replacement import LocalReplacement

Way = Literal["frozen", "held", "free"]
WAYS: tuple[Way, ...] = ("frozen", "held", "free")
"""Frozen: in the local replacement model, where edges must be exact. Held: other latents keep their activations, and
all else follows. Free: the model as it is, in which other latents change too."""


@torch.no_grad()
def changes(
    replacement: LocalReplacement, graph: AttributionGraph, edges: Int[Tensor, "edge 2"], way: Way
) -> Float[Tensor, " edge"]:
    """Return how far each edge's target falls when its source latent adds nothing at its position.

    An edge of a graph says that it is its weight. Any pair of a latent and a later latent or logit may be given.
    """
    edges = edges.cpu()
    found = graph.weights.new_zeros(len(edges), device=replacement.last.device)
    for layer in graph_layer(graph, edges[:, 0]).unique().tolist():
        sources = edges[graph_layer(graph, edges[:, 0]) == layer, 0].unique()
        for part in sources.split(replacement.targets_at_once(layer, len(graph.token_ids))):
            _test(replacement, graph, edges, way, part, found)
    return found.cpu()


def graph_layer(graph: AttributionGraph, nodes: Int[Tensor, " node"]) -> Int[Tensor, " node"]:
    """The layer of latents; of logits the number of layers, of tokens and biases −1."""
    level = torch.full((graph.n_nodes,), -1)
    level[: graph.first_token], level[graph.first_logit :] = graph.latents[:, 0], graph.n_layers
    return level[nodes.cpu()]


def random_pairs(graph: AttributionGraph, n: int, generator: torch.Generator) -> Int[Tensor, "pair 2"]:
    """Return up to n pairs of a latent and a later latent or logit of the graph that have no edge in it."""
    layer = graph_layer(graph, torch.arange(graph.n_nodes))
    position = torch.full((graph.n_nodes,), len(graph.token_ids) - 1)
    position[: graph.first_token] = graph.latents[:, 1]
    latents = torch.arange(graph.first_token)
    possible = (layer[:, None] > layer[latents]) & (position[:, None] >= position[latents])  # [target, source]
    sources, targets = graph.edges[graph.edges[:, 0] < graph.first_token].unbind(dim=1)
    possible[targets, sources] = False
    pairs = possible.nonzero().flip(1)
    return pairs[torch.randperm(len(pairs), generator=generator)[:n]]


def _test(
    replacement: LocalReplacement,
    graph: AttributionGraph,
    edges: Tensor,
    way: Way,
    sources: Tensor,
    found: Tensor,
) -> None:
    """Take out each of these latents of one layer, one a row, and write what its edges' targets lose."""
    first, device = int(graph.latents[sources[0], 0]), found.device
    positions, indices = graph.latents[sources, 1:].to(device).unbind(dim=1)
    rows = replacement.layers[first].layer.transcoder.W_dec[indices].to(found)
    added = rows * graph.activations[sources, None].to(found)
    change = added.new_zeros(len(sources), len(graph.token_ids), added.shape[1])
    change[torch.arange(len(sources), device=device), positions] = -added
    row_of = torch.zeros(graph.n_nodes, dtype=torch.long)
    row_of[sources] = torch.arange(len(sources))
    ours = torch.isin(edges[:, 0], sources)
    of_target = graph_layer(graph, edges[:, 1])
    for layer, response in enumerate(_responses(replacement, way, first + 1, change), first + 1):
        here = (ours & (of_target == layer)).nonzero()[:, 0]
        row, target = row_of[edges[here, 0]].to(device), edges[here, 1]
        if layer < graph.n_layers:
            of, at = graph.latents[target, 2].to(device), graph.latents[target, 1].to(device)
            readers = replacement.layers[layer].layer.transcoder.W_enc[of].to(found)
        else:
            ids = torch.tensor(graph.logit_ids)[target - graph.first_logit].to(device)
            readers = replacement.unembedding[ids].to(found) - replacement.mean_row.to(found)
            at = torch.full_like(row, len(graph.token_ids) - 1)
        found[here.to(device)] = -(readers * response[row, at]).sum(dim=1)


def _responses(
    replacement: LocalReplacement, way: Way, first: int, change: Float[Tensor, "row position d_model"]
) -> Iterator[Float[Tensor, "row position d_model"]]:
    """What a change of the input of layer `first` changes in the input of its MLP and of each later one, then of the
    unembedding."""
    if way == "frozen":
        moved = change.transpose(0, 1)
        for frozen in replacement.layers[first:]:
            of_mlp, moved = frozen.push(moved)
            yield of_mlp.transpose(0, 1)
        factor = replacement.norm.weight.to(change) * replacement.last_factor
        yield moved.transpose(0, 1) * factor  # of the last position alone this is right, and only that is read
        return
    stream = replacement.layers[first - 1].out + change
    for frozen in replacement.layers[first:]:
        parts = frozen.layer
        held = parts.transcoder.decode(parts.activations(frozen.mlp_input)) if way == "held" else None
        passed = parts.run(stream, replacement.rotary, held)
        yield passed.mlp_input - frozen.mlp_input
        stream = passed.out
    yield normed(replacement.norm, stream)[0] - normed(replacement.norm, replacement.layers[-1].out)[0]
