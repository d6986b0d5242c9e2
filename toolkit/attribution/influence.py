"""Which nodes and edges of a graph matter: influence on the logits, and the fewest that make up a share of it."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BINS_AN_OCTAVE, OCTAVES = 32, 40
"""Values below 2⁻⁴⁰ of the largest share the last bin."""


def influence(
    start: Float[Tensor, " node"],
    level: Int[Tensor, " node"],
    edges: Int[Tensor, "edge 2"],
    shares: Float[Tensor, " edge"],
) -> Float[Tensor, " node"]:
    """Return p(N + N² + …) of each node, for p = `start`, and N the share that an edge has of its target.

    Every edge goes from a node of a lower level to one of a higher level, so that one pass over the levels from above,
    each edge once, gives the whole sum. Source: Ameisen et al. 2025, "Circuit tracing".
    """
    reached = torch.zeros_like(start)
    of_target = level[edges[:, 1]]
    for each in of_target.unique().flip(0):
        here = of_target == each
        source, target = edges[here].unbind(dim=1)
        reached.index_add_(0, source, shares[here] * (start + reached)[target])
    return reached


def fewest(values: Float[Tensor, " value"], share: float) -> Bool[Tensor, " value"]:
    """Return which of the values, none below 0, are the fewest that sum to at least this share of all.

    Values are counted in bins by size; only the bin in which the sum is reached is sorted.
    """
    total = values.sum(dtype=torch.float64)
    if not total > 0:  # none may be given
        return torch.zeros_like(values, dtype=torch.bool)
    bins = ((values / values.max()).log2() * -BINS_AN_OCTAVE).clamp(max=BINS_AN_OCTAVE * OCTAVES).long()
    sums = torch.zeros(BINS_AN_OCTAVE * OCTAVES + 1, dtype=torch.float64, device=values.device)
    reached = sums.index_add_(0, bins, values.double()).cumsum(dim=0)
    last = int((reached < share * total).sum().clamp(max=len(sums) - 1))
    kept = bins < last
    before = float(reached[last] - sums[last])
    inside = (bins == last).nonzero()[:, 0]
    order = values[inside].argsort(descending=True, stable=True)
    missing = before + values[inside][order].double().cumsum(dim=0) < share * total
    kept[inside[order[: int(missing.sum()) + 1]]] = True
    return kept


def without_dangling(
    latents: Bool[Tensor, " node"], edges: Int[Tensor, "edge 2"], kept: Bool[Tensor, " edge"]
) -> tuple[Bool[Tensor, " node"], Bool[Tensor, " edge"]]:
    """Leave out latents that lost all edges into them, or all out of them, and then their other edges, until none is.

    `latents` says which nodes are latents that are kept so far; nodes of other kinds are never left out.
    """
    dropped = torch.zeros_like(latents)
    while True:
        sources, targets = edges[kept].unbind(dim=1)
        into, out = torch.zeros_like(latents), torch.zeros_like(latents)
        into[targets], out[sources] = True, True
        dangling = latents & ~dropped & ~(into & out)
        if not dangling.any():
            return latents & ~dropped, kept
        dropped |= dangling
        kept = kept & ~dropped[edges].any(dim=1)
