"""Makes the attribution graph of a prompt: which words, which edges, and what of them is kept."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.modes import Mode
from toolkit.attribution.exploration import Exploration, Explored
from toolkit.attribution.graph import AttributionGraph
from toolkit.attribution.influence import fewest, without_dangling
from toolkit.attribution.limits import Limits
from toolkit.attribution.replacement import LocalReplacement
from toolkit.models.text.inputs import Text, as_rows, check_range

MOST_LOGITS, LOGITS_SHARE = 10, 0.95


class LatentEdges(NamedTuple):
    """Edges between latents."""

    sources: Int[Tensor, "source 3"]
    """Layer, position and index of each latent that fired below the highest target."""
    weights: Float[Tensor, "target source"]
    """How much each source adds to each target's pre-activation."""
    values: Float[Tensor, " target"]
    """What all edges into a target, those of tokens and biases included, sum to."""


def attribute(
    adapted: AdaptedModel,
    prompt: Text,
    *,
    mode: Mode | None = None,
    name: str = "adapter",
    logit_ids: Sequence[int] = (),
    limits: Limits | None = None,
) -> AttributionGraph:
    """Return the attribution graph of an adapted model on a prompt, in a mode that is called `name`.

    The prompt is a text, chat messages up to where the assistant writes, or ids. It explains the logits of `logit_ids`,
    or else of the likely next tokens. Raises `ValueError` for several prompts, an id that the model does not have, and
    as `LocalReplacement.of` does.
    """
    token_ids, *others = as_rows(adapted.tokenizer, prompt, answering=True)
    if others:
        raise ValueError(f"{1 + len(others)} prompts are given: a graph is of one")
    if len(logit_ids):
        check_range(torch.tensor([[*logit_ids]]), adapted.distilled.vocab_size)
    replacement = LocalReplacement.of(adapted, token_ids, mode)
    return graph_of(replacement, adapted.tokenizer, name, logit_ids, limits or Limits())


def graph_of(
    replacement: LocalReplacement,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    logit_ids: Sequence[int],
    limits: Limits,
    importance: Sequence[float] | None = None,
) -> AttributionGraph:
    """Return the graph of a local replacement model; see `attribute`.

    importance: how much each logit counts where edges are chosen; default: its probability.
    """
    probabilities = replacement.logits().double().softmax(dim=0)
    logit_ids = tuple(logit_ids) or likely(probabilities)
    explained = probabilities[list(logit_ids)]
    counts = explained if importance is None else torch.as_tensor(importance).to(explained)
    explored = Exploration(replacement, logit_ids, counts).follow(limits.max_latents)
    latents, edges = _chosen(explored, limits)
    of_all = explored.influence[: len(replacement.latents)]
    order = of_all[latents].argsort(descending=True)
    shares = torch.zeros_like(order, dtype=torch.float64)
    shares[order] = of_all[latents][order].cumsum(dim=0) / of_all.sum()
    others = torch.arange(len(of_all), len(explored.influence), device=latents.device)
    number = torch.zeros(len(explored.influence), dtype=torch.long, device=latents.device)
    nodes = torch.cat([latents, others])
    number[nodes] = torch.arange(len(nodes), device=nodes.device)
    return AttributionGraph(
        model=name,
        token_ids=replacement.token_ids,
        tokens=tuple(tokenizer.batch_decode([[each] for each in replacement.token_ids])),
        n_layers=len(replacement.layers),
        latents=replacement.latents[latents].cpu(),
        activations=replacement.activations[latents].cpu(),
        logit_ids=logit_ids,
        logit_tokens=tuple(tokenizer.batch_decode([[each] for each in logit_ids])),
        probabilities=tuple(explained.tolist()),
        edges=number[explored.edges[edges]].cpu(),
        weights=explored.weights[edges].cpu(),
        target_values=explored.target_values[nodes].cpu(),
        influence=torch.cat([shares, shares.new_zeros(len(others))]).cpu(),
        node_threshold=limits.node_threshold,
        edge_threshold=limits.edge_threshold,
        fired=len(of_all),
        followed=int(explored.followed.sum()),
        not_followed=explored.not_followed,
        identity_error=explored.identity_error,
    )


def edges_between_latents(
    adapted: AdaptedModel, token_ids: Sequence[int], targets: Sequence[tuple[int, int, int]]
) -> LatentEdges:
    """Return the edges from all latents that fire on a prompt into latents, given as (layer, position, index) each.

    Raises `ValueError` for no target, or one that does not exist, and as `LocalReplacement.of` does.
    """
    adapted.without((layer, index) for layer, _, index in targets)  # says which does not exist
    replacement = LocalReplacement.of(adapted, token_ids)
    wanted = torch.tensor(targets, device=replacement.latents.device).view(-1, 3)
    if not len(wanted) or not 0 <= int(wanted[:, 1].min()) <= int(wanted[:, 1].max()) < len(token_ids):
        raise ValueError(f"targets {targets!r:.60}: give at least one, at positions from 0 to {len(token_ids) - 1}")
    n = replacement.firsts[int(wanted[:, 0].max())]
    weights = replacement.activations.new_zeros(len(wanted), n)
    values = weights.new_zeros(len(wanted))
    for layer in wanted[:, 0].unique().tolist():
        rows = (wanted[:, 0] == layer).nonzero()[:, 0]
        for part in rows.split(replacement.targets_at_once(layer, len(token_ids))):
            found = replacement.edges_to_latents(layer, wanted[part, 1], wanted[part, 2])
            weights[part, : found.latents.shape[1]], values[part] = found.latents, found.values
    return LatentEdges(replacement.latents[:n].cpu(), weights.cpu(), values.cpu())


def likely(probabilities: Float[Tensor, " vocab"]) -> tuple[int, ...]:
    """Return the fewest likely ids that have a probability of .95 together, and at most 10."""
    found = probabilities.topk(min(MOST_LOGITS, len(probabilities)))
    n = int((found.values.cumsum(dim=0) < LOGITS_SHARE).sum()) + 1
    return tuple(found.indices[:n].tolist())


def _chosen(explored: Explored, limits: Limits) -> tuple[Int[Tensor, " latent"], Int[Tensor, " edge"]]:
    """Which of all latents are kept, and which of all edges."""
    n_latents = len(explored.followed)
    nodes = torch.ones_like(explored.influence, dtype=torch.bool)
    nodes[:n_latents] = fewest(explored.influence[:n_latents], limits.node_threshold) & explored.followed
    source, target = explored.edges.unbind(dim=1)
    reaching = (explored.start + explored.influence)[target]
    scores = explored.weights.double().abs() / explored.target_sizes[target].double() * reaching
    possible = nodes[source] & nodes[target]
    from_bias = source == explored.bias
    kind = (source < n_latents) * 2 + (target < n_latents)
    kept = torch.zeros_like(possible)
    for each in kind.unique():  # else those from tokens to logits, often nearly all there is, would decide alone
        group = possible & ~from_bias & (kind == each)
        kept[group] = fewest(scores[group], limits.edge_threshold)
    latents = nodes.clone()
    latents[n_latents:] = False
    latents, kept = without_dangling(latents, explored.edges, kept)
    nodes[:n_latents] = latents[:n_latents]
    kept |= from_bias & nodes[target]
    return latents.nonzero()[:, 0], kept.nonzero()[:, 0]
