"""How much of what the distilled model has beyond the hybrid an adapter gives back, with intervals."""

from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.statistics.estimates import Estimate, jackknife


def recovered(
    adapter: Float[Tensor, " sample"],
    hybrid: Float[Tensor, " sample"],
    distilled: Float[Tensor, " sample"],
    *,
    unit: str,
) -> Estimate:
    """Return Σ(adapter − hybrid) / Σ(distilled − hybrid) with its 95 % interval, samples being left out in turn.

    0 is the hybrid, 1 the distilled model. Samples that are NaN anywhere are left out; NaN, and `note` says why, where
    none is left, and where hybrid and distilled model do not differ.
    """
    known = ~(adapter + hybrid + distilled).isnan()
    gained, whole = ((each - hybrid)[known].double().cpu() for each in (adapter, distilled))
    if not known.any():
        return Estimate(nan, note="not known")
    without = whole.sum() - whole
    if not whole.sum() or not without.all():
        return Estimate(nan, note="hybrid and distilled model do not differ")
    return jackknife(float(gained.sum() / whole.sum()), (gained.sum() - gained) / without, unit=unit)


def beyond_share(
    adapter: Float[Tensor, " sample"],
    hybrid: Float[Tensor, " sample"],
    distilled: Float[Tensor, " sample"],
    share: float,
) -> Float[Tensor, " sample"]:
    """Return adapter − hybrid − share · (distilled − hybrid), whose mean is above 0 where more is recovered.

    Unlike the ratio it has a mean that an interval holds for, however small the gap.
    """
    return adapter - hybrid - share * (distilled - hybrid)


def shuffled_within(rows: Float[Tensor, "latent d_model"], chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Return the rows, those of the chosen latents each in another one's place, as far as there are others."""
    places = chosen[torch.randperm(len(chosen), generator=generator)]
    moved = rows.clone()
    moved[places] = rows[places.roll(1)]
    return moved
