"""Class centres as points: how far apart they lie, how far draws agree on them, and whether two models do."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from statistics import fmean

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.experiments.harmonic_probes.accuracy import Fitted, Task
from toolkit.experiments.harmonic_probes.results import Agreement, CentresFound, ShapeAgreement
from toolkit.geometry.components import Components
from toolkit.geometry.procrustes import procrustes
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.seeds import mean_of_seeds

MOST_PERMUTATIONS = 720
FEWEST_CLASSES = 3
"""Two points have no shape to compare."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassPoints:
    """What every draw of fitting documents says of one label's classes in one model, in raw units."""

    classes: tuple[str, ...]
    harmonic: Float[Tensor, "draw class d_model"]
    """Centres of the harmonic probe."""
    means: Float[Tensor, "draw class d_model"]
    logistic: Float[Tensor, "draw class d_model"]
    """Directions of the logistic probe: no points, but their differences can be compared with those of points."""
    spread: Float[Tensor, " draw"]
    """Root mean square distance of a class's tokens to their mean, classes weighing the same."""

    @classmethod
    def of(cls, task: Task, probes: Sequence[Fitted]) -> "ClassPoints":
        """The points of a task's probes, one of each draw."""
        label, classes = task.streams.places.label, task.streams.places.classes
        means, spreads = [], []
        for fits in task.streams.fits:
            of_class = [task.x[fits & (label == number)].double() for number in range(len(classes))]
            means.append(torch.stack([x.mean(dim=0) for x in of_class]))
            around = [(x - mean).square().sum(dim=1).mean() for x, mean in zip(of_class, means[-1], strict=True)]
            spreads.append(torch.stack(around).mean().sqrt())
        return cls(
            classes=classes,
            harmonic=torch.stack([each.harmonic.centres.double() for each in probes]),
            means=torch.stack(means),
            logistic=torch.stack([each.logistic.directions.double() for each in probes]),
            spread=torch.stack(spreads),
        )

    def found(self) -> CentresFound:
        """What is said of them."""
        distances = (torch.cdist(self.harmonic, self.harmonic) / self.spread[:, None, None]).mean(dim=0)
        pairs = combinations(range(len(self.classes)), 2)
        kinds = {"harmonic": self.harmonic, "means": self.means, "logistic": self.logistic}
        return CentresFound(
            distances={(self.classes[i], self.classes[j]): float(distances[i, j]) for i, j in pairs},
            spread_over_draws={kind: spread_over_draws(points) for kind, points in kinds.items()},
            cosine_with_means=_mean_cosine(self.harmonic, self.means),
            cosine_with_logistic=_mean_cosine(self.harmonic, self.logistic),
        )


def spread_over_draws(points: Float[Tensor, "draw class d_model"]) -> float:
    """Return how far draws differ: the root mean square distance of a point to its mean over draws, over that of the
    means to their common centre.

    The points of each draw are centred and brought to one size before. 0 where all draws agree; NaN for one draw.
    """
    if len(points) < 2:
        return math.nan
    shapes = points - points.mean(dim=1, keepdim=True)
    shapes = shapes / shapes.square().sum(dim=(1, 2), keepdim=True).sqrt()
    mean = shapes.mean(dim=0)
    variance = (shapes - mean).square().sum() / (len(shapes) - 1)
    return float((variance / mean.square().sum()).sqrt())


def agreement(first: ClassPoints, second: ClassPoints, generator: torch.Generator) -> Agreement:
    """Return whether two models place the same classes alike.

    One model's centres of a draw are set against the other's of the next draw, fitted on other documents, so that
    what is peculiar to documents does not make them agree. The null permutes classes, in all draws alike.
    """
    ours, theirs = first.harmonic, second.harmonic
    between = [_mean_cosine(each, _next(each)).value for each in (ours, theirs)]
    several = len(first.classes) >= FEWEST_CLASSES
    return Agreement(
        cosine=_mean_cosine(ours, _next(theirs)),
        cosine_between_draws=fmean(between),
        shape=_shape_agreement(_shapes(ours), _shapes(theirs), generator) if several else None,
    )


def _shape_agreement(
    ours: Float[Tensor, "draw class dims"], theirs: Float[Tensor, "draw class dims"], generator: torch.Generator
) -> ShapeAgreement:
    orders = _orders(ours.shape[1], generator)
    turned = torch.tensor([_turned(ours, _next(theirs)[:, order]) for order in orders], dtype=torch.float64)
    correlated = torch.stack([_correlation(ours, _next(theirs)[:, order]) for order in orders])
    return ShapeAgreement(
        procrustes=mean_of_seeds(turned[0].tolist()).within(0.0, 1.0),
        procrustes_permuted=float(turned[1:].mean()),
        procrustes_p=_share_as_high(turned.mean(dim=1)),
        procrustes_between_draws=fmean(value for each in (ours, theirs) for value in _turned(each, _next(each))),
        distances=mean_of_seeds(correlated[0].tolist()).within(-1.0, 1.0),
        distances_p=_share_as_high(correlated.mean(dim=1)),
        permutations=len(orders),
    )


def _next(points: Float[Tensor, "draw class dims"]) -> Float[Tensor, "draw class dims"]:
    """The points of the draw after each one."""
    return points.roll(-1, dims=0)


def _shapes(points: Float[Tensor, "draw class d_model"]) -> Float[Tensor, "draw class dims"]:
    """The centred points of each draw in as few dimensions as they span: their distances stay."""
    return torch.stack([Components.fit(each).project(each, len(each)) for each in points])


def _turned(first: Float[Tensor, "draw class dims"], second: Float[Tensor, "draw class dims"]) -> list[float]:
    return [procrustes(x, y).agreement for x, y in zip(first, second, strict=True)]


def _correlation(
    first: Float[Tensor, "draw class dims"], second: Float[Tensor, "draw class dims"]
) -> Float[Tensor, " draw"]:
    """Of the distances between every two points, in each draw."""
    above = torch.ones(first.shape[1], first.shape[1]).triu(1).bool()
    distances = [torch.cdist(each, each)[:, above] for each in (first, second)]
    x, y = (each - each.mean(dim=1, keepdim=True) for each in distances)
    return torch.nn.functional.cosine_similarity(x, y, dim=1)


def _orders(n_classes: int, generator: torch.Generator) -> list[Int[Tensor, " class"]]:
    """Permutations of classes, the true order first: all of them, or a sample where there are too many."""
    if math.factorial(n_classes) <= MOST_PERMUTATIONS:
        return [torch.tensor(order) for order in permutations(range(n_classes))]
    drawn = [torch.randperm(n_classes, generator=generator) for _ in range(MOST_PERMUTATIONS - 1)]
    return [torch.arange(n_classes), *drawn]


def _share_as_high(values: Float[Tensor, " order"]) -> float:
    return float((values >= values[0] - 1e-12).double().mean())


def _mean_cosine(first: Float[Tensor, "draw class d_model"], second: Float[Tensor, "draw class d_model"]) -> Estimate:
    """Of the differences of every two classes, over draws."""
    i, j = torch.triu_indices(first.shape[1], first.shape[1], 1)
    cosines = torch.cosine_similarity(first[:, i] - first[:, j], second[:, i] - second[:, j], dim=2).mean(dim=1)
    return mean_of_seeds(cosines.tolist()).within(-1.0, 1.0)
