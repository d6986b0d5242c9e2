"""Sparsity rules as pure functions of scores: which latents of which tokens fire.

A score is the decoder-norm-weighted activation f_k Σ_s‖W_dec,k^s‖ before any cut; scores of zero or less
never fire.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

MARGIN = 0.97  # of the last cut: candidates are then about a tenth more than are kept


def positions_above(scores: Float[Tensor, "token latent"], floor: float) -> Int[Tensor, " nonzero"]:
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
    scores: Float[Tensor, "token latent"], n_kept: int, last_cut: float
) -> Int[Tensor, " nonzero"]:
    """Return flat positions that hold the `n_kept` largest positive scores of the batch, and somewhat more.

    Scores above 0.97 × the last batch's cut nearly always suffice; where they do not, all positive ones are
    returned. The choice of candidates thus costs time only, never exactness.
    """
    candidates = positions_above(scores, MARGIN * last_cut)
    if len(candidates) < n_kept and last_cut > 0:
        candidates = positions_above(scores, 0.0)
    return candidates


def batchtopk_cut(candidate_scores: Float[Tensor, " nonzero"], n_kept: int) -> Float[Tensor, ""]:
    """Return the `n_kept`-th largest score: all that are as large are kept; 0 keeps all positive ones."""
    surplus = len(candidate_scores) - n_kept
    if surplus < 0:
        return candidate_scores.new_zeros(())
    return candidate_scores.kthvalue(surplus + 1).values.clamp(min=0)


def topk_positions(scores: Float[Tensor, "token latent"], k: int) -> Int[Tensor, " nonzero"]:
    """Return ascending flat positions of the k largest scores of each token."""
    columns = scores.topk(k, dim=1).indices.sort(dim=1).values
    starts = torch.arange(len(scores), device=scores.device) * scores.shape[1]
    return (columns + starts[:, None]).flatten()


def topk_mask(scores: Float[Tensor, "token latent"], k: int) -> Bool[Tensor, "token latent"]:
    """Return where a score is among the k largest of its token."""
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(k, dim=1).indices, True)
