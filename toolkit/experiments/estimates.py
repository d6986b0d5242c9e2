"""Values with their intervals, as every experiment writes them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.geometry.bootstrap import bootstrap_mean
from toolkit.reports.findings import Estimate


def mean(values: Float[Tensor, " sample"], groups: Int[Tensor, " sample"] | None = None) -> Estimate:
    """The mean with its 95 % bootstrap interval; NaN is left out, samples of one group are drawn together.

    The same values give the same interval. NaN where nothing is known.
    """
    known = ~values.isnan()
    if not known.any():
        return Estimate(float("nan"))
    generator = torch.Generator().manual_seed(0)
    return Estimate(*bootstrap_mean(values[known], generator, groups=None if groups is None else groups[known]))


def around(values: Float[Tensor, " value"], half_widths: Float[Tensor, " value"]) -> list[Estimate]:
    """Each value with an interval that reaches as far to either side."""
    ends = torch.stack([values, values - half_widths, values + half_widths], dim=1)
    return [Estimate(*row) for row in ends.tolist()]
