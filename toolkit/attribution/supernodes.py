"""Supernodes: latents whose edges are alike, so that a reader can take them as one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array, csr_array, hstack
from scipy.spatial.distance import squareform
from torch import Tensor

from toolkit.attribution.graph import AttributionGraph

MOST_LATENTS = 2000
LEAST_COSINE = 0.5
BY_CHANCE = 0.05
SHUFFLES, DEALS = 20, 200


@dataclass(frozen=True, kw_only=True)
class Supernodes:
    """Groups of latents with edges alike, and how many latents chance groups."""

    groups: tuple[tuple[int, ...], ...]
    """Numbers of nodes, of at least two latents a group; the largest group first."""
    least_cosine: float
    """Mean cosine, between the members of two groups, from which on they are one."""
    compared: int
    """Latents that were compared: those of most influence."""
    share: float
    """Share of them in a group."""
    shuffled_share: float
    """The same in graphs whose edges were shuffled, other than those by which `least_cosine` was chosen."""

    one_word: float
    """Share of the grouped latents that stand on their group's most common token; NaN without groups."""
    one_word_by_chance: float
    """The same, on average, where the same latents are dealt to groups of the same sizes at random."""

    def names(self, graph: AttributionGraph) -> list[str]:
        """What each group is called: by the token at which most of its members stand."""
        return [_name(graph, number, group) for number, group in enumerate(self.groups, 1)]


def supernodes(graph: AttributionGraph, generator: torch.Generator) -> Supernodes:
    """Group latents by their edges: average linkage of the cosines between profiles of weights.

    A latent's profile is the weights of the edges into it and those of the edges out of it, each of length 1. Weights
    from, or to, the same latent or token at different positions are summed: groups are of like role, not of like
    place. The least cosine is the one at which groups hold 5 % of the latents of graphs whose edges have each other's
    sources, among sources of a kind, and never less than 0.5. The 2,000 latents of most influence are compared.
    """
    compared = graph.influence[: graph.first_token].argsort(stable=True)[:MOST_LATENTS].sort().values
    n = len(compared)
    if n < 2:
        return Supernodes(
            groups=(),
            least_cosine=LEAST_COSINE,
            compared=n,
            share=0.0,
            shuffled_share=0.0,
            one_word=nan,
            one_word_by_chance=nan,
        )
    shuffled = [_tree(graph, _shuffled(graph, generator), compared) for _ in range(SHUFFLES)]
    chosen_by, control = shuffled[::2], shuffled[1::2]
    first_joins = np.concatenate([_first_joins(tree) for tree in chosen_by])
    # Strictly below the quantile: where chance joins latents at a distance of 0, nothing is a group.
    cut = min(float(np.nextafter(np.quantile(first_joins, BY_CHANCE), -np.inf)), 1 - LEAST_COSINE)
    tree = _tree(graph, graph.edges, compared)
    groups = _groups(tree, cut, compared.tolist())
    dealt = [_one_word(graph, _dealt(groups, generator)) for _ in range(DEALS)]
    return Supernodes(
        groups=groups,
        least_cosine=1 - cut,
        compared=n,
        share=float((_first_joins(tree) <= cut).mean()),
        shuffled_share=float(np.mean([(_first_joins(each) <= cut).mean() for each in control])),
        one_word=_one_word(graph, groups),
        one_word_by_chance=sum(dealt) / DEALS,
    )


def _shuffled(graph: AttributionGraph, generator: torch.Generator) -> Int[Tensor, "edge 2"]:
    """Edges that keep their targets and weights, and have each other's sources."""
    edges = graph.edges.clone()
    is_latent = edges[:, 0] < graph.first_token
    for kind in (is_latent, ~is_latent):
        sources = edges[kind, 0]
        edges[kind, 0] = sources[torch.randperm(len(sources), generator=generator)]
    return edges


def _tree(
    graph: AttributionGraph, edges: Int[Tensor, "edge 2"], compared: Int[Tensor, " latent"]
) -> Float[np.ndarray, "join 4"]:
    """Which latents or groups are joined at which distance, as scipy's `linkage` says it."""
    ends = _without_position(graph)
    source, target = edges.unbind(dim=1)
    into = _unit_rows(graph, target, ends[source], graph.weights)
    out = _unit_rows(graph, source, ends[target], graph.weights)
    profiles = csr_array(hstack([into, out]))[compared.numpy()]
    distances = 1 - (profiles @ profiles.T).toarray() / 2
    np.fill_diagonal(distances, 0.0)
    return np.asarray(linkage(squareform(distances.clip(min=0.0), checks=False), "average"))


def _without_position(graph: AttributionGraph) -> Int[Tensor, " node"]:
    """One number a node, the same for a latent, or a token, at all its positions."""
    entries = [
        *(("latent", layer, index) for layer, _, index in graph.latents.tolist()),
        *(("token", token, 0) for token in graph.token_ids),
        ("bias", 0, 0),
        *(("logit", token, 0) for token in graph.logit_ids),
    ]
    numbers = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    return torch.tensor([numbers[entry] for entry in entries])


def _unit_rows(
    graph: AttributionGraph, rows: Int[Tensor, " edge"], columns: Int[Tensor, " edge"], weights: Float[Tensor, " edge"]
) -> csr_array:
    """Sum of the weights a row and column, each row of length 1 unless it is empty."""
    shape = (graph.n_nodes, graph.n_nodes)
    table = csr_array(coo_array((weights.double().numpy(), (rows.numpy(), columns.numpy())), shape=shape))
    norms = np.sqrt(table.multiply(table).sum(axis=1))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return csr_array(table.multiply(scale[:, None]))


def _first_joins(tree: Float[np.ndarray, "join 4"]) -> Float[np.ndarray, " latent"]:
    """The distance at which each latent first joins another."""
    n = len(tree) + 1
    joined = np.empty(n)
    for one, other, distance, _ in tree:
        for each in (int(one), int(other)):
            if each < n:
                joined[each] = distance
    return joined


def _groups(tree: Float[np.ndarray, "join 4"], cut: float, nodes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    members: dict[int, list[int]] = {}
    for node, group in zip(nodes, fcluster(tree, cut, criterion="distance"), strict=True):
        members.setdefault(int(group), []).append(node)
    groups = [tuple(each) for each in members.values() if len(each) > 1]
    return tuple(sorted(groups, key=lambda group: (-len(group), group)))


def _one_word(graph: AttributionGraph, groups: Sequence[Sequence[int]]) -> float:
    total = sum(map(len, groups))
    return sum(_common_word(graph, group)[1] for group in groups) / total if total else nan


def _dealt(groups: Sequence[Sequence[int]], generator: torch.Generator) -> list[list[int]]:
    members = torch.tensor([node for group in groups for node in group], dtype=torch.long)
    order = members[torch.randperm(len(members), generator=generator)]
    return [part.tolist() for part in order.split([len(group) for group in groups])] if groups else []


def _common_word(graph: AttributionGraph, group: Sequence[int]) -> tuple[str, int]:
    words = Counter(graph.tokens[position] for position in graph.latents[list(group), 1].tolist())
    return words.most_common(1)[0]


def _name(graph: AttributionGraph, number: int, group: Sequence[int]) -> str:
    word, n = _common_word(graph, group)
    return f"{number}: {n} of {len(group)} at “{word}”"
