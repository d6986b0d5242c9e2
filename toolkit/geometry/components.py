"""Principal components of a set of points."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True, kw_only=True)
class Components:
    """All principal components of a set of points, from one decomposition; any number of them can be used."""

    mean: Float[Tensor, " d_model"]
    directions: Float[Tensor, "component d_model"]
    """Orthonormal directions, in order of falling variance."""
    variance: Float[Tensor, " component"]
    """Sum of squares along each direction."""

    @classmethod
    def fit(cls, points: Float[Tensor, "point d_model"]) -> "Components":
        """Decompose the centred points, in single precision or better.

        Raises `ValueError` where all points are the same.
        """
        points = points.to(torch.promote_types(points.dtype, torch.float32))
        mean = points.mean(dim=0)
        _, values, directions = torch.linalg.svd(points - mean, full_matrices=False)
        if not values[0] > 0:
            raise ValueError(f"{len(points)} points all alike have no principal components: give points that differ")
        return cls(mean=mean, directions=directions, variance=values.square())

    def project(self, points: Float[Tensor, "point d_model"], dims: int) -> Float[Tensor, "point kept"]:
        """Return coordinates along the first `dims` components, or along all where there are fewer."""
        return (points.to(self.mean) - self.mean) @ self.directions[:dims].T

    def variance_explained(self, dims: int) -> float:
        """Return the share of the points' variance along the first `dims` components."""
        return float(self.variance[:dims].sum() / self.variance.sum())


def refitted_coordinates(
    points: Float[Tensor, "point d_model"], left_out: Bool[Tensor, "group point"], dims: int
) -> Float[Tensor, "group point dims"]:
    """Return the coordinates of all points along the first components of those that each group leaves.

    Where there are fewer components than `dims`, the last coordinates are 0.
    """
    reduced = Components.fit(points).project(points, len(points))  # the same points, in as few dimensions as they span
    fitted = [Components.fit(reduced[~out.to(points.device)]).project(reduced, dims) for out in left_out]
    return torch.stack([pad(each, (0, dims - each.shape[1])) for each in fitted])
