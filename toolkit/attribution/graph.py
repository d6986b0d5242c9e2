"""An attribution graph: which tokens and latents made which latents and logits, and how strongly."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.formatting import counted

Kind = Literal["latent", "token", "bias", "logit"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AttributionGraph:
    """Nodes and edges of one prompt, whose last token's logits are explained.

    Nodes are numbered: latents, in the order of `latents`; then a token for each position; then one for all biases;
    then the logits. An edge's weight is how much its source adds to its target: to a logit less the mean of all logits,
    or to a latent's pre-activation less its encoder bias. The weights of all edges into a target sum to that value, but
    for edges that were left out.
    """

    model: str
    """Which model or mode is explained."""
    token_ids: tuple[int, ...]
    """Ids of the prompt."""
    tokens: tuple[str, ...]
    """The same as text."""
    n_layers: int
    latents: Int[Tensor, "latent 3"]
    """Layer, position and index of each latent that fired and was kept."""
    activations: Float[Tensor, " latent"]
    logit_ids: tuple[int, ...]
    """Ids of the next tokens that are explained."""
    logit_tokens: tuple[str, ...]
    """The same as text."""
    probabilities: tuple[float, ...]
    """The model's probabilities of these tokens."""
    edges: Int[Tensor, "edge 2"]
    """Source and target of each edge."""
    weights: Float[Tensor, " edge"]
    target_values: Float[Tensor, " node"]
    """What the weights of all edges into a node sum to, those left out included; 0 for tokens and biases."""
    influence: Float[Tensor, " node"]
    """Share of the influence on the logits, by node, that the node and all of more influence have together: nodes of
    low numbers come first where a graph is cut down. 0 for tokens and logits, which are always kept."""
    node_threshold: float
    """Share of all latents' influence that the kept ones have together, those included that then lost their edges."""
    edge_threshold: float
    """Share of their kind's influence that the kept edges have together; kinds are edges from latents or tokens, into
    latents or logits. Edges from the bias node are always kept."""
    fired: int
    """Latents that fired anywhere in the prompt, kept or not: one that fires at two positions counts twice."""
    followed: int
    """Those of them whose incoming edges were computed; the others were too weak, or too many."""
    not_followed: float
    """Share of all latents' influence that those have whose incoming edges were not computed."""
    identity_error: float
    """Largest difference between what all edges into a target sum to and its value, over that value: what arithmetic
    loses, over the logits and all latents that were followed."""

    def __repr__(self) -> str:
        logits = zip(self.logit_tokens, self.probabilities, strict=True)
        explained = ", ".join(f"{token!r} (p = {share:.2f})" for token, share in logits)
        counts = f"{counted(len(self.latents), 'latent')}, {counted(len(self.edges), 'edge')}"
        return f"AttributionGraph of {self.model}: {counts}, {counted(len(self.token_ids), 'token')};\n  {explained}"

    @cached_property
    def first_token(self) -> int:
        """Number of the first token's node."""
        return len(self.latents)

    @cached_property
    def bias(self) -> int:
        """Number of the bias node."""
        return self.first_token + len(self.token_ids)

    @cached_property
    def first_logit(self) -> int:
        """Number of the first logit's node."""
        return self.bias + 1

    @property
    def n_nodes(self) -> int:
        """Nodes of all kinds."""
        return self.first_logit + len(self.logit_ids)

    def kind(self, node: int) -> Kind:
        """What kind of node it is."""
        if node < self.first_token:
            return "latent"
        if node < self.bias:
            return "token"
        return "bias" if node == self.bias else "logit"

    def completeness(self) -> Float[Tensor, " target"]:
        """Sum of kept edges into each latent and logit, over what all edges into it sum to; NaN where that is 0."""
        summed = torch.zeros(self.n_nodes, dtype=self.weights.dtype).index_add(0, self.edges[:, 1], self.weights)
        targets = torch.cat([torch.arange(self.first_token), torch.arange(self.first_logit, self.n_nodes)])
        return summed[targets] / self.target_values[targets]
