from dataclasses import replace

import pytest
import torch
from tiny_graphs import planted_graph, tiny_graph

from toolkit.attribution import supernodes as module
from toolkit.attribution.graph import AttributionGraph
from toolkit.attribution.supernodes import Supernodes, supernodes

FIRST, MEMBERS = 12, 8


def grouped(graph: AttributionGraph) -> Supernodes:
    return supernodes(graph, torch.Generator().manual_seed(0))


@pytest.fixture
def planted() -> AttributionGraph:
    return planted_graph(torch.Generator().manual_seed(1))


def test_planted_groups_are_found_and_shuffled_edges_have_none(planted: AttributionGraph) -> None:
    found = grouped(planted)
    ends = {tuple(range(start, start + MEMBERS)) for start in (FIRST, FIRST + MEMBERS)}
    assert ends <= set(found.groups)
    assert found.share > 0.5
    assert found.shuffled_share <= 0.1
    assert found.compared == FIRST + 2 * MEMBERS


def test_latents_without_a_common_role_are_not_grouped(planted: AttributionGraph) -> None:
    noise = torch.randn(len(planted.weights), generator=torch.Generator().manual_seed(2))
    found = grouped(replace(planted, weights=noise))
    assert found.share <= 0.15


def test_edges_of_opposite_sign_are_not_alike(planted: AttributionGraph) -> None:
    out_of_odd = (planted.edges[:, 0] >= FIRST) & (planted.edges[:, 0] % 2 == 1)
    groups = grouped(replace(planted, weights=torch.where(out_of_odd, -1.0, 1.0) * planted.weights)).groups
    halves = {tuple(range(start, FIRST + MEMBERS, 2)) for start in (FIRST, FIRST + 1)}
    assert halves <= set(groups)


def test_the_same_graph_gives_the_same_groups(planted: AttributionGraph) -> None:
    assert grouped(planted) == grouped(planted)


def test_a_latent_at_two_positions_is_one_with_itself() -> None:
    graph = planted_graph(torch.Generator().manual_seed(1), noise=0.0)
    ends = graph.latents.clone()
    ends[FIRST : FIRST + MEMBERS, 2] = 0  # one latent, which stands at several positions
    found = grouped(replace(graph, latents=ends))
    assert tuple(range(FIRST, FIRST + MEMBERS)) in found.groups


def test_only_the_latents_of_most_influence_are_compared(
    planted: AttributionGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LATENTS", MEMBERS)
    influence = torch.full((planted.n_nodes,), 0.9)
    influence[FIRST : FIRST + MEMBERS] = 0.1  # the share that a node has with those of more: low is first
    found = grouped(replace(planted, influence=influence))
    assert found.compared == MEMBERS
    assert {node for group in found.groups for node in group} <= set(range(FIRST, FIRST + MEMBERS))


def test_a_group_is_named_by_the_token_where_most_of_it_stands(planted: AttributionGraph) -> None:
    found = replace(grouped(planted), groups=((FIRST, FIRST + 5, FIRST + 1),))
    assert found.names(planted) == ["1: 2 of 3 at “ So”"]


def test_latents_of_a_group_may_stand_on_one_word_more_often_than_by_chance(planted: AttributionGraph) -> None:
    by_group = planted.latents.clone()
    by_group[FIRST : FIRST + MEMBERS, 1], by_group[FIRST + MEMBERS :, 1] = 1, 3
    found, scattered = grouped(replace(planted, latents=by_group)), grouped(planted)
    assert found.one_word == 1
    assert found.one_word_by_chance < 0.85
    assert scattered.one_word < 0.6


def test_a_graph_of_one_latent_has_no_groups() -> None:
    graph = tiny_graph()
    one = replace(
        graph,
        latents=graph.latents[:1],
        activations=graph.activations[:1],
        edges=graph.edges[:0],
        weights=graph.weights[:0],
        target_values=graph.target_values[2:],
        influence=graph.influence[2:],
    )
    assert grouped(one).groups == ()


def test_a_graph_without_edges_has_no_groups() -> None:
    graph = tiny_graph()
    assert grouped(replace(graph, edges=graph.edges[:0], weights=graph.weights[:0])).groups == ()
