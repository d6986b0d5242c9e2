"""How a latent's decoder rows for two models compare: norm ratios, cosines, and what chance would give.

Rows come in raw units. Only alive latents tell anything: one that never fired keeps the equal norms it began
with, so callers select alive latents first.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def nrn(W_dec: Float[Tensor, "latent 2 d_model"], p: int = 1) -> Float[Tensor, " latent"]:
    """Return the normalised relative norm n_B / (n_A + n_B) per latent, with p-norms of the decoder rows.

    0 is base only, 0.5 shared, 1 distilled only; a latent whose rows are both zero has no side and gets 0.5.
    Raises ValueError for p other than 1 and 2. Source: Baek & Tegmark 2025, section 3.
    """
    if p not in (1, 2):
        raise ValueError(f"p = {p} is not a norm used here; choose 1 or 2")
    base, distilled = W_dec.norm(p=p, dim=2).unbind(dim=1)
    total = base + distilled
    return torch.where(total > 0, distilled / total.clamp(min=torch.finfo(total.dtype).tiny), 0.5)


def cosine(W_dec: Float[Tensor, "latent 2 d_model"]) -> Float[Tensor, " latent"]:
    """Return the cosine between a latent's two decoder rows; 0 where one of them is zero."""
    return torch.cosine_similarity(W_dec[:, 0], W_dec[:, 1], dim=1)


def random_pair_cosines(
    W_dec: Float[Tensor, "latent 2 d_model"], generator: torch.Generator
) -> Float[Tensor, " latent"]:
    """Return the cosine of each latent's first row with the second row of another: the null for `cosine`.

    The others are a random cyclic shift of the latents in random order, so no latent meets itself.
    Raises ValueError for fewer than two latents.
    """
    if len(W_dec) < 2:
        raise ValueError(f"{len(W_dec)} latents make no pair of different ones; give at least 2")
    order = torch.randperm(len(W_dec), generator=generator).to(W_dec.device)
    pairs = torch.stack([W_dec[order, 0], W_dec[order.roll(1), 1]], dim=1)
    return cosine(pairs)
