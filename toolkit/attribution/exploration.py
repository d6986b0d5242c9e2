"""Follows the edges back from the logits: into latents of more influence first, and no farther than matters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.attribution.influence import fewest, influence
from toolkit.attribution.replacement import Edges, LocalReplacement
from toolkit.tracking import track

ROUND = 128
"""Latents that are followed before influence is estimated anew."""
FOLLOWED = 0.95
"""Share of the latents' influence at which no more are followed."""
KEPT_OF_A_TARGET = 0.99
"""Share of what comes into a target from latents, signs left out, and of what comes from tokens, whose edges are kept
in memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Explored:
    """Edges into the logits, and into all latents that were followed.

    Nodes are numbered as in `AttributionGraph`, but for all latents that fired.
    """

    edges: Int[Tensor, "edge 2"]
    """Source and target."""
    weights: Float[Tensor, " edge"]
    target_values: Float[Tensor, " node"]
    """0 for nodes that were not followed."""
    target_sizes: Float[Tensor, " node"]
    """Sum of the sizes of all edges into a node, those that were not kept in memory included."""
    start: Float[Tensor, " node"]
    """Probabilities of the logits, which sum to 1; 0 for other nodes."""
    influence: Float[Tensor, " node"]
    """On the logits, by all paths; 0 for these themselves."""
    bias: int
    """Number of the bias node."""
    followed: Bool[Tensor, " latent"]
    identity_error: float

    @property
    def not_followed(self) -> float:
        """Share of the latents' influence that those have that were not followed."""
        of_latents = self.influence[: len(self.followed)]
        total = float(of_latents.sum())
        return float(of_latents[~self.followed].sum()) / total if total else 0.0


@dataclass
class _Found:
    """What was found so far, a part for each batch of targets."""

    edges: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)


class Exploration:
    """What is known of one prompt's edges; `follow` adds to it."""

    def __init__(
        self, replacement: LocalReplacement, logit_ids: Sequence[int], probabilities: Float[Tensor, " logit"]
    ) -> None:
        self.replacement, self._found = replacement, _Found()
        self.n_latents = len(replacement.latents)
        self._bias = self.n_latents + len(replacement.token_ids)
        n_nodes = self._bias + 1 + len(logit_ids)
        of_logits = torch.arange(self._bias + 1, n_nodes)
        device, dtype = replacement.activations.device, replacement.activations.dtype
        self._values = torch.zeros(n_nodes, dtype=dtype, device=device)
        self._sizes = torch.zeros_like(self._values)
        self.start = torch.zeros(n_nodes, dtype=torch.float64, device=device)
        self.start[of_logits] = (probabilities / probabilities.sum()).to(self.start)
        self.level = torch.zeros(n_nodes, dtype=torch.long, device=device)
        self.level[: self.n_latents] = replacement.latents[:, 0] + 1
        self.level[of_logits] = len(replacement.layers) + 1
        self.followed = torch.zeros(self.n_latents, dtype=torch.bool, device=device)
        self._add(of_logits.to(device), replacement.edges_to_logits(logit_ids))

    def follow(self, most: int) -> Explored:
        """Follow latents, those of more influence first, until the others have little, or `most` are followed."""
        total = min(most, self.n_latents)
        for layer, part in track(self._rounds(most), "edges", "latents", total=total, size=lambda each: len(each[1])):
            _, positions, indices = self.replacement.latents[part].unbind(dim=1)
            self._add(part, self.replacement.edges_to_latents(layer, positions, indices))
            self.followed[part] = True
        return self._explored()

    def _rounds(self, most: int) -> Iterator[tuple[int, Tensor]]:
        """Batches to follow, which must be followed as they come: influence is estimated anew after each round."""
        while (left := most - int(self.followed.sum())) > 0:
            found = self._explored()
            of_latents = found.influence[: self.n_latents].masked_fill(self.followed, 0)
            chosen = of_latents.topk(min(ROUND, left, self.n_latents)).indices
            chosen = chosen[of_latents[chosen] > 0].sort().values
            if found.not_followed <= 1 - FOLLOWED or not len(chosen):
                return
            yield from self._batches(chosen)

    def _batches(self, chosen: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Latents of one layer each, in the order of their positions, as many as fit the memory."""
        for layer in self.replacement.latents[chosen, 0].unique().tolist():
            rest = chosen[self.replacement.latents[chosen, 0] == layer]
            while len(rest):
                size = self.replacement.targets_at_once(layer, int(self.replacement.latents[rest[-1], 1]) + 1)
                yield layer, rest[-size:]
                rest = rest[:-size]

    def _add(self, targets: Tensor, found: Edges) -> None:
        """Take over the edges into these nodes that make up most of what comes into each."""
        whole = torch.cat([found.latents, found.tokens, found.bias[:, None]], dim=1)
        sources = torch.cat(
            [
                torch.arange(found.latents.shape[1], device=whole.device),
                torch.arange(self.n_latents, self._bias + 1, device=whole.device),
            ]
        )
        self._values[targets], self._sizes[targets] = found.values, whole.abs().sum(dim=1)
        self._found.errors.append(float(found.errors().nan_to_num(0).max()))
        kept = torch.cat([_most_of(found.latents), _most_of(found.tokens), found.bias[:, None] != 0], dim=1)
        row, column = kept.nonzero(as_tuple=True)
        self._found.edges.append(torch.stack([sources[column], targets[row]], dim=1))
        self._found.weights.append(whole[row, column])

    def _explored(self) -> Explored:
        edges, weights = torch.cat(self._found.edges), torch.cat(self._found.weights)
        self._found.edges, self._found.weights = [edges], [weights]
        shares = weights.double().abs() / self._sizes[edges[:, 1]].double()
        return Explored(
            edges=edges,
            weights=weights,
            target_values=self._values,
            target_sizes=self._sizes,
            start=self.start,
            bias=self._bias,
            influence=influence(self.start, self.level, edges, shares),
            followed=self.followed,
            identity_error=max(self._found.errors),
        )


def _most_of(weights: Float[Tensor, "target source"]) -> Bool[Tensor, "target source"]:
    return torch.stack([fewest(row, KEPT_OF_A_TARGET) for row in weights.abs()])
