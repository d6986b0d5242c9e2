"""Inner products between raw ones and white ones, in which probes are fitted."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread:
    """How points vary: their mean, and the variance along each of their principal components."""

    mean: Float[Tensor, " width"]
    directions: Float[Tensor, "width component"]
    variance: Float[Tensor, " component"]

    @classmethod
    def of(cls, points: Float[Tensor, "point width"]) -> "Spread":
        """Decompose the covariance, in double precision; what rounding alone makes of it is 0."""
        points = points.double()
        mean = points.mean(dim=0)
        variance, directions = torch.linalg.eigh((points - mean).T @ (points - mean) / len(points))
        rounding = (torch.finfo(points.dtype).eps * mean.norm()).square()
        return cls(mean=mean, directions=directions, variance=variance.where(variance > rounding, 0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric:
    """Coordinates in which points of a spread have unit mean square along each direction, more or less.

    `shrinkage` adds so many mean variances to each component's variance: 0 whitens, and the larger it is, the nearer
    the coordinates are to raw ones, centred and divided by one factor.
    """

    spread: Spread
    shrinkage: float

    @property
    def stretch(self) -> Float[Tensor, " component"]:
        """The factor of each principal component; 1 where all points are the same."""
        mean = self.spread.variance.mean()
        if mean == 0:
            return torch.ones_like(self.spread.variance)
        return ((1 + self.shrinkage) / (self.spread.variance + self.shrinkage * mean)).sqrt()

    def to(self, points: Float[Tensor, "point width"]) -> Float[Tensor, "point component"]:
        """Return the coordinates of points, in double precision."""
        spread = self.spread
        return (points.to(spread.mean) - spread.mean) @ (spread.directions * self.stretch)

    def back(self, coordinates: Float[Tensor, "point component"]) -> Float[Tensor, "point width"]:
        """Return the points that have these coordinates."""
        return self.spread.mean + (coordinates.to(self.spread.mean.device) / self.stretch) @ self.spread.directions.T

    def gradient_back(self, weights: Float[Tensor, "row component"]) -> Float[Tensor, "row width"]:
        """Return the directions whose products with centred points are those of the weights with coordinates."""
        return (weights.to(self.spread.mean.device) * self.stretch) @ self.spread.directions.T
