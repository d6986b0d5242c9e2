"""How well each latent's activation alone tells labelled tokens from the rest."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def latent_auroc(codes: Float[Tensor, "token latent"], labels: Bool[Tensor, " token"]) -> Float[Tensor, " latent"]:
    """AUROC of every latent at once, by ranks; only the activations above zero are sorted.

    Codes may be a sparse tensor. Tokens where a latent is silent tie with each other and count half. A latent that
    never fires gets 0.5.
    """
    sparse = codes.to_sparse().coalesce()
    token, latent = sparse.indices()
    value = sparse.values()
    order = torch.argsort(value, stable=True)
    order = order[torch.argsort(latent[order], stable=True)]
    token, latent, value = token[order], latent[order], value[order]
    n_latents = codes.shape[1]
    fired = torch.bincount(latent, minlength=n_latents)
    start = fired.cumsum(0) - fired
    differs = torch.ones_like(latent, dtype=torch.bool)
    differs[1:] = (latent[1:] != latent[:-1]) | (value[1:] != value[:-1])
    tie = differs.cumsum(0) - 1
    size = torch.bincount(tie)
    rank = (size.cumsum(0) - (size - 1) / 2)[tie] - start[latent]  # equal activations share the mean of their ranks
    positive = labels[token]
    rank_sum = torch.zeros(n_latents, dtype=torch.float64, device=codes.device)
    rank_sum.index_add_(0, latent[positive], rank[positive].double())
    hits = torch.bincount(latent[positive], minlength=n_latents)
    n_positive, n_negative = labels.sum(), (~labels).sum()
    false_alarms = fired - hits
    # Mann-Whitney: firing positives beat silent negatives, and those firing negatives that rank below them.
    wins = rank_sum - hits * (hits + 1) / 2 + hits * (n_negative - false_alarms)
    ties = (n_positive - hits) * (n_negative - false_alarms)
    return ((wins + ties / 2) / (n_positive * n_negative)).float()


def auroc_interval(
    scores: Float[Tensor, " token"],
    labels: Bool[Tensor, " token"],
    documents: Int[Tensor, " token"],
    *,
    generator: torch.Generator,
    resamples: int = 500,
) -> tuple[float, float, float]:
    """One latent's AUROC with its 95 % bootstrap interval, documents resampled whole: their tokens hang together.

    Raises ValueError unless there are both labelled and other tokens.
    """
    if labels.all() or not labels.any():
        raise ValueError(f"{int(labels.sum())} of {len(labels)} tokens are labelled: AUROC needs some and others")
    n_documents = int(documents.max()) + 1
    positive = _histogram(scores, labels, documents, n_documents)
    negative = _histogram(scores, ~labels, documents, n_documents)
    draws = torch.randint(n_documents, (resamples, n_documents), generator=generator)
    counts = torch.zeros(resamples, n_documents).scatter_add_(1, draws, torch.ones(draws.shape))
    weights = torch.cat([torch.ones(1, n_documents), counts])  # the first row is the sample as it is
    hits, misses = weights @ positive, weights @ negative
    below = misses.double().cumsum(dim=1) - misses
    wins = (hits * (below + misses / 2)).sum(dim=1)
    values = wins / (hits.sum(dim=1).double() * misses.sum(dim=1))
    low, high = values[1:].nanquantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return float(values[0]), low, high


def _histogram(scores: Tensor, chosen: Tensor, documents: Tensor, n_documents: int) -> Tensor:
    """How often each distinct score, in rising order, stands on chosen tokens of each document."""
    levels, level = scores.unique(return_inverse=True)
    cells = documents[chosen] * len(levels) + level[chosen]
    return torch.bincount(cells, minlength=n_documents * len(levels)).view(n_documents, -1).float()
