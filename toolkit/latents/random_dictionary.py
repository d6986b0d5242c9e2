"""Random dictionaries: as wide as a trained one and firing as often, what one finds in them is owed to chance."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

UNITS_AT_ONCE = 64


def random_codes(
    x: Float[Tensor, "token width"], firings: Int[Tensor, " unit"], choosing: Bool[Tensor, " token"], seed: int
) -> Float[Tensor, "token alive"]:
    """Return the sparse codes of units that fire above a threshold along Gaussian directions of the activations.

    Of the `choosing` tokens each unit fires on as many as `firings` says, those furthest along its direction. Units
    that never fire there are left out.
    """
    choosing, n_choosing = choosing.to(x.device), int(choosing.sum())
    firings = firings[firings > 0].cpu().clamp_max(n_choosing - 1)
    if not len(firings):
        return x.new_zeros(len(x), 0).to_sparse()
    directions = torch.randn(len(firings), x.shape[1], generator=torch.Generator().manual_seed(seed)).to(x)
    parts = []
    for some, n_silent in zip(
        directions.split(UNITS_AT_ONCE), (n_choosing - firings).split(UNITS_AT_ONCE), strict=True
    ):
        projected = some @ x.t()
        each = zip(projected[:, choosing], n_silent.tolist(), strict=True)
        threshold = torch.stack([unit.kthvalue(silent).values for unit, silent in each])
        parts.append((projected - threshold[:, None]).relu().t().to_sparse())
    return torch.cat(parts, dim=1)


def firings(codes: Float[Tensor, "token unit"], choosing: Bool[Tensor, " token"]) -> Int[Tensor, " unit"]:
    """Return on how many of the choosing tokens each unit of sparse codes fires."""
    codes = codes.coalesce()
    token, unit = codes.indices()
    return unit[choosing.to(codes.device)[token]].bincount(minlength=codes.shape[1])
