"""The harmonic loss: classes are points, and a class's probability falls with a power of the distance to its point.

Source: Baek, Liu, Tyagi & Tegmark 2025, section 2.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

EPSILON = 1e-4
"""Added to squared distances, as in the authors' code: a point on a centre has finite probabilities."""


def harmonic_log_probabilities(
    x: Float[Tensor, "*batch width"], centres: Float[Tensor, "class width"], exponent: float, epsilon: float = EPSILON
) -> Float[Tensor, "*batch class"]:
    """Return log p of each class: p is proportional to d⁻ⁿ, with d the distance to the class's centre, n the exponent.

    Computed as log_softmax(−n/2 · log(d² + ε)), which no norm makes overflow, in single precision or better.
    """
    dtype = torch.promote_types(torch.promote_types(x.dtype, centres.dtype), torch.float32)
    points = x.reshape(-1, x.shape[-1]).to(dtype)
    distance = torch.cdist(points, centres.to(dtype), compute_mode="donot_use_mm_for_euclid_dist")
    log_probabilities = (-exponent / 2 * (distance.square() + epsilon).log()).log_softmax(dim=-1)
    return log_probabilities.reshape(*x.shape[:-1], len(centres))


class HarmonicLinear(nn.Module):
    """A last layer whose classes are points: takes the place of `nn.Linear`, and gives log-probabilities.

    These are logits too: `F.cross_entropy` of them is the harmonic loss. The exponent is that of the distance d; the
    authors' code (KindXiaoming/grow-crystals) has it on d², so that its n is an exponent of 2n here. That code also
    divides the squared distances by their least, which changes no probability, and which the logarithm makes needless.
    """

    def __init__(self, in_features: int, out_features: int, *, exponent: float, epsilon: float = EPSILON) -> None:
        """Draw centres as `nn.Linear` draws its weight. Raises `ValueError` unless the exponent is above 0."""
        super().__init__()
        if not 0 < exponent < math.inf:
            raise ValueError(f"exponent {exponent}: must be above 0 and finite, such as √{in_features}")
        self.exponent, self.epsilon = exponent, epsilon
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch class"]:
        """Return the log-probability of each class, in single precision or better."""
        return harmonic_log_probabilities(x, self.weight, self.exponent, self.epsilon)
