"""The graph of a prompt: what is kept is what matters, and the graph says what was left out."""

import pytest
import torch

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.attribution import exploration
from toolkit.attribution.attributing import attribute, edges_between_latents, likely
from toolkit.attribution.limits import Limits
from toolkit.attribution.replacement import LocalReplacement

IDS = [3, 7, 1, 9, 2, 7]
WHOLE = Limits(node_threshold=1.0, edge_threshold=1.0)


@pytest.fixture
def keep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow every latent, and keep every edge."""
    monkeypatch.setattr(exploration, "FOLLOWED", 2.0)
    monkeypatch.setattr(exploration, "KEPT_OF_A_TARGET", 1.0)
    monkeypatch.setattr(exploration, "ROUND", 7)


@pytest.mark.usefixtures("keep_all")
def test_a_whole_graph_has_every_edge_of_what_reaches_the_logits(adapted: AdaptedModel) -> None:
    graph, local = attribute(adapted, IDS, logit_ids=[5, 11], limits=WHOLE), LocalReplacement.of(adapted, IDS)
    reaching = (local.latents[:, 0] < 3) | (local.latents[:, 1] == 5)  # else after all attention
    assert torch.equal(graph.latents, local.latents[reaching].cpu())
    torch.testing.assert_close(graph.completeness(), torch.ones(len(graph.latents) + 2, dtype=torch.float64))
    assert graph.identity_error < 1e-9
    assert (graph.fired, graph.followed, graph.not_followed) == (len(local.latents), len(graph.latents), 0)
    dense = torch.zeros(graph.n_nodes, graph.n_nodes, dtype=torch.float64)
    dense[graph.edges[:, 1], graph.edges[:, 0]] = graph.weights
    n, to_logits = graph.first_token, local.edges_to_logits([5, 11])
    latents, tokens, bias, values = (
        each.cpu() for each in (to_logits.latents[:, reaching], to_logits.tokens, to_logits.bias, to_logits.values)
    )
    torch.testing.assert_close(dense[-2:, :n], latents)
    torch.testing.assert_close(dense[-2:, n:-3], tokens)
    torch.testing.assert_close(dense[-2:, -3], bias)
    torch.testing.assert_close(graph.target_values[-2:], values)
    shares = dense.abs() / dense.abs().sum(dim=1, keepdim=True).clamp(min=1e-30)
    start = torch.zeros(graph.n_nodes, dtype=torch.float64)
    start[-2:] = torch.tensor(graph.probabilities, dtype=torch.float64)
    start /= start.sum()
    reached = torch.linalg.solve(torch.eye(graph.n_nodes).double() - shares.T, start) - start
    ranked = reached[:n].sort(descending=True)
    expected = torch.zeros(n, dtype=torch.float64).scatter(
        0, ranked.indices, ranked.values.cumsum(0) / ranked.values.sum()
    )
    torch.testing.assert_close(graph.influence[:n], expected)


def test_a_graph_keeps_the_fewest_latents_and_edges_and_no_dangling_one(adapted: AdaptedModel) -> None:
    graph = attribute(adapted, IDS, limits=Limits(node_threshold=0.5, edge_threshold=0.8))
    assert 0 < len(graph.latents) < graph.fired / 2
    assert graph.followed <= graph.fired
    assert graph.influence[: graph.first_token].min() > 0
    assert graph.influence[: graph.first_token].max() < 0.7
    sources, targets = map(set, graph.edges.T.tolist())
    assert set(range(graph.first_token)) <= sources & targets
    assert set(range(graph.first_logit, graph.n_nodes)) <= targets
    level = torch.cat([graph.latents[:, 0], torch.full((7,), -1), torch.full((len(graph.logit_ids),), 4)])
    assert (level[graph.edges[:, 0]] < level[graph.edges[:, 1]]).all()
    assert sum(graph.probabilities) >= 0.95 or len(graph.logit_ids) == 10
    assert graph.tokens == ("w3", "w7", "w1", "w9", "w2", "w7")


def test_latents_that_are_too_many_to_follow_are_told(adapted: AdaptedModel) -> None:
    graph = attribute(adapted, IDS, limits=Limits(max_latents=3))
    assert graph.followed == 3
    assert len(graph.latents) <= 3
    assert 0 < graph.not_followed < 1


def test_a_graph_without_latents_leads_from_tokens_to_logits(adapted: AdaptedModel) -> None:
    graph = attribute(adapted, IDS, mode=modes.hybrid(4), name="hybrid", logit_ids=[5])
    assert graph.model == "hybrid"
    assert len(graph.latents) == graph.fired == graph.followed == graph.not_followed == 0
    assert {graph.kind(source) for source in graph.edges[:, 0].tolist()} <= {"token", "bias"}
    assert graph.identity_error < 1e-12


def test_edges_into_given_latents_come_from_all_that_fire_below(adapted: AdaptedModel) -> None:
    local = LocalReplacement.of(adapted, IDS)
    found = edges_between_latents(adapted, IDS, [(3, 4, 1), (1, 2, 0), (3, 5, 1)])
    assert torch.equal(found.sources, local.latents[local.latents[:, 0] < 3].cpu())
    third = local.edges_to_latents(3, torch.tensor([4, 5]), torch.tensor([1, 1]))
    torch.testing.assert_close(found.weights[[0, 2]], third.latents.cpu())
    torch.testing.assert_close(found.values[[0, 2]], third.values.cpu())
    assert found.weights[1][found.sources[:, 0] >= 1].abs().max() == 0
    with pytest.raises(ValueError, match="latent 3/9 does not exist"):
        edges_between_latents(adapted, IDS, [(3, 4, 9)])
    with pytest.raises(ValueError, match="at positions from 0 to 5"):
        edges_between_latents(adapted, IDS, [(3, 6, 1)])


def test_likely_words_are_the_fewest_with_most_of_the_probability() -> None:
    assert likely(torch.tensor([0.1, 0.6, 0.26, 0.04])) == (1, 2, 0)
    assert likely(torch.tensor([0.0, 1.0])) == (1,)
    assert len(likely(torch.full((50,), 0.02))) == 10
