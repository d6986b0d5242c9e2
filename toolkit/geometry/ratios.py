"""Means per token and bits per byte, as ratios of sums over documents, with intervals that know what a document is.

Tokens of one document are alike, so an interval that took each for a sample of its own would be too narrow.
"""

from statistics import NormalDist

from jaxtyping import Float
from torch import Tensor


def ratio_of_sums(
    sums: Float[Tensor, "document *quantity"], sizes: Float[Tensor, " document"], level: float = 0.95
) -> tuple[Float[Tensor, "*quantity"], Float[Tensor, "*quantity"]]:
    """Return R = Σ sums / Σ sizes and the half-width of its interval at `level`, documents being the samples.

    The variance is that of sums − R · sizes (Cochran 1977, *Sampling Techniques*, chapter 6), computed in float64.
    Raises ValueError for fewer than two documents.
    """
    n = len(sizes)
    if n < 2:
        raise ValueError(f"{n} documents give no interval: two are needed at least")
    sums, sizes = sums.double(), sizes.double().reshape(n, *[1] * (sums.ndim - 1))
    ratio = sums.sum(dim=0) / sizes.sum()
    deviations = (sums - ratio * sizes).square().sum(dim=0) * n / (n - 1)
    return ratio, NormalDist().inv_cdf((1 + level) / 2) * deviations.sqrt() / sizes.sum()
