"""Compares a latent's decoder rows for two models: norm ratios, cosines, and the cosines of random pairs.

Rows are in raw units. Callers select alive latents first: a latent that never fired keeps the equal norms that it
started with.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.statistics.resampling import random_cycle


def rows_by_model(W_dec: Float[Tensor, "latent stream d_model"], n_models: int) -> Float[Tensor, "latent model row"]:
    """Return each latent's decoder rows, one for each model: the rows of its layers joined end to end."""
    return W_dec.unflatten(1, (n_models, -1)).flatten(2)


def nrn(W_dec: Float[Tensor, "latent 2 d_model"], p: int = 1) -> Float[Tensor, " latent"]:
    """Return the normalised relative norm n_B / (n_A + n_B) per latent, with p-norms of the decoder rows.

    0 is base only, 0.5 shared, 1 distilled only; a latent whose rows are both zero gets 0.5.
    Raises `ValueError` for p other than 1 and 2. Source: Baek & Tegmark 2025, section 3.
    """
    if p not in (1, 2):
        raise ValueError(f"p = {p} is not a norm used here; choose 1 or 2")
    base, distilled = W_dec.norm(p=p, dim=2).unbind(dim=1)
    total = base + distilled
    return torch.where(total > 0, distilled / total.clamp(min=torch.finfo(total.dtype).tiny), 0.5)


def norm_difference(W_dec: Float[Tensor, "latent 2 d_model"]) -> Float[Tensor, " latent"]:
    """Return ½((n_A − n_B) / max(n_A, n_B) + 1) per latent, with 2-norms; 0.5 where both rows are zero.

    1 is base only, 0 distilled only. Source: Minder et al. 2025, section 2.
    """
    distilled = nrn(W_dec, p=2)
    base = 1 - distilled
    return ((base - distilled) / torch.maximum(base, distilled) + 1) / 2


def cosine(W_dec: Float[Tensor, "latent 2 d_model"]) -> Float[Tensor, " latent"]:
    """Return the cosine between a latent's two decoder rows; NaN where one of them is zero and has no direction."""
    directed = W_dec.any(dim=2).all(dim=1)
    return torch.cosine_similarity(W_dec[:, 0], W_dec[:, 1], dim=1).where(directed, torch.nan)


def random_pair_cosines(
    W_dec: Float[Tensor, "latent 2 d_model"], generator: torch.Generator
) -> Float[Tensor, " latent"]:
    """Return the cosine of each latent's first row with the second row of another: the null for `cosine`.

    The partners come from `random_cycle`, so no latent is its own partner; NaN as in `cosine`.
    Raises `ValueError` for fewer than two latents.
    """
    if len(W_dec) < 2:
        raise ValueError(f"{len(W_dec)} latents make no pair of different ones; give at least 2")
    others = random_cycle(len(W_dec), generator).to(W_dec.device)
    return cosine(torch.stack([W_dec[:, 0], W_dec[others, 1]], dim=1))
