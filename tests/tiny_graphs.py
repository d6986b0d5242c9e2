"""Attribution graphs made by hand, for tests of what shows and groups them."""

from dataclasses import replace

import torch

from toolkit.attribution.graph import AttributionGraph

WORDS = (" So", " 24", " is", ".", " Wait")


def tiny_graph(model: str = "adapter") -> AttributionGraph:
    """Five tokens, three latents in two layers, and two logits: two latents at the last token raise " let"."""
    return AttributionGraph(
        model=model,
        token_ids=(11, 12, 13, 14, 15),
        tokens=WORDS,
        n_layers=2,
        latents=torch.tensor([[0, 1, 7], [1, 4, 3], [1, 4, 9]]),  # nodes 0 to 2; tokens 3 to 7, bias 8, logits 9 and 10
        activations=torch.tensor([1.5, 2.0, 0.5]),
        logit_ids=(21, 22),
        logit_tokens=(" let", "\n"),
        probabilities=(0.75, 0.125),
        edges=torch.tensor([[4, 0], [8, 0], [0, 1], [7, 1], [7, 2], [1, 9], [2, 9], [8, 9], [1, 10]]),
        weights=torch.tensor([1.25, -0.25, 0.75, 1.5, 0.5, 3.0, -1.0, 0.5, 0.25]),
        target_values=torch.tensor([1.0, 2.5, 0.5, 0, 0, 0, 0, 0, 0, 2.75, 0.5]),
        influence=torch.tensor([0.7, 0.4, 0.8, 0, 0, 0, 0, 0, 0.1, 0, 0]),
        node_threshold=0.8,
        edge_threshold=0.98,
        fired=5,
        followed=3,
        not_followed=0.01,
        identity_error=1e-6,
    )


def planted_graph(
    chance: torch.Generator, *, n_groups: int = 2, members: int = 8, noise: float = 0.1
) -> AttributionGraph:
    """Groups of latents of the last of two layers, each of its own sources and targets, with noise on all other edges.

    A group's latents stand at different positions; groups follow each other in `latents`. The first layer has
    12 latents, which are sources; six logits are targets.
    """
    n_sources, n_logits, n_members = 12, 6, n_groups * members
    latents = [[0, 0, index] for index in range(n_sources)] + [[1, index % 5, index] for index in range(n_members)]
    first_logit = len(latents) + len(WORDS) + 1
    edges, weights = [], []
    for member in range(n_members):
        group, node = member // members, n_sources + member
        for source in range(n_sources):
            edges.append([source, node])
            weights.append(1.0 if source % n_groups == group else 0.0)
        for logit in range(n_logits):
            edges.append([node, first_logit + logit])
            weights.append(1.0 if logit % n_groups == group else 0.0)
    n_nodes = first_logit + n_logits
    graph = tiny_graph()
    return replace(
        graph,
        latents=torch.tensor(latents),
        activations=torch.ones(len(latents)),
        logit_ids=tuple(range(n_logits)),
        logit_tokens=tuple(f" w{index}" for index in range(n_logits)),
        probabilities=(1 / n_logits,) * n_logits,
        edges=torch.tensor(edges),
        weights=torch.tensor(weights) + noise * torch.randn(len(weights), generator=chance),
        target_values=torch.ones(n_nodes),
        influence=torch.zeros(n_nodes),
    )
