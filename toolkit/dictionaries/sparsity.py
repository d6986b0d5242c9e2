"""Sparsity rules as pure functions of scores: which latents of which tokens fire.

A score is the decoder-norm-weighted activation f_k Σ_s‖W_dec,k^s‖ before any cut; scores of zero or less
never fire.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.collectives import ALONE, Ranks

MARGINS = (0.98, 0.9, 0.6, 0.0)  # of the last cut; the first leaves about a tenth more than are kept
STRIDE = 61  # of the sample that estimates a first cut; prime, so that it meets all tokens and latents


def positions_above(scores: Float[Tensor, "latent token"], floor: float) -> Int[Tensor, " nonzero"]:
    """Return ascending flat positions of the scores that exceed a `floor` of zero or more."""
    limit: float = floor
    if scores.dtype == torch.bfloat16:  # non-negative floats are ordered as their bits are; integers compare faster
        limit = torch.tensor(floor, dtype=torch.bfloat16).view(torch.int16).item()
        scores = scores.view(torch.int16)
    if scores.device.type == "cpu":  # numpy takes a fifth of torch's time here
        values = scores.numpy()
        return torch.from_numpy(np.flatnonzero(values > values.dtype.type(limit)))
    return (scores > limit).flatten().nonzero().squeeze(1)


def batchtopk_candidates(
    scores: Float[Tensor, "latent token"], n_kept: int, last_cut: float, ranks: Ranks = ALONE
) -> Int[Tensor, " nonzero"]:
    """Return flat positions that hold the `n_kept` largest positive scores of all ranks' batch, and somewhat more.

    Scores a little below the last batch's cut nearly always suffice; where they do not, the margin grows until
    they do or all positive scores are in. The margin thus costs time only, never exactness. A `last_cut` of 0
    stands for a first batch: its cut is estimated from a sample of the scores.
    """
    cut = last_cut or _sampled_cut(scores, n_kept, ranks)
    for margin in MARGINS:
        candidates = positions_above(scores, margin * cut)
        if ranks.total(len(candidates)) >= n_kept:
            break
    return candidates


def _sampled_cut(scores: Tensor, n_kept: int, ranks: Ranks) -> float:
    sample = ranks.gathered(scores.view(-1)[::STRIDE].float())
    return max(0.0, sample.topk(max(1, n_kept // STRIDE)).values[-1].item())


def batchtopk_cut(candidate_scores: Float[Tensor, " nonzero"], n_kept: int) -> Float[Tensor, ""]:
    """Return the `n_kept`-th largest score: all that are as large are kept; 0 keeps all positive ones."""
    surplus = len(candidate_scores) - n_kept
    if surplus < 0:
        return candidate_scores.new_zeros(())
    return candidate_scores.kthvalue(surplus + 1).values.clamp(min=0)


def topk_positions(scores: Float[Tensor, "latent token"], k: int) -> Int[Tensor, " nonzero"]:
    """Return ascending flat positions of the k largest scores of each token."""
    n_tokens = scores.shape[1]
    latents = scores.t().contiguous().topk(k, dim=1).indices  # a GPU is slow along a dimension that is not the last
    return (latents * n_tokens + torch.arange(n_tokens, device=scores.device)[:, None]).flatten().sort().values


def topk_mask(scores: Float[Tensor, "token latent"], k: int) -> Bool[Tensor, "token latent"]:
    """Return where a score is among the k largest of its token."""
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(k, dim=1).indices, True)
