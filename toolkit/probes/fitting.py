"""Logistic and harmonic probes of frozen activations, fitted with equal effort.

Both have the same inputs, the same optimiser, and as many candidate settings, of which documents that were held out
choose. Every class weighs the same in the loss, however many examples it has.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.leaving_out import TooFewError
from toolkit.probes.choosing import Examples, Fit, Form, chosen_fit, fit_with
from toolkit.probes.harmonic import check_exponent, harmonic_log_probabilities, of_squared_distances
from toolkit.probes.held_out import held_out
from toolkit.probes.metric import Metric

FEWEST_EXAMPLES = 10
"""A class with fewer examples has no probe."""
LOGISTIC_PENALTIES = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
HARMONIC_PENALTIES = (300.0, 30.0, 3.0, 0.3)
"""In tokens; the harmonic probe has half as many, each tried with two exponents."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """What both kinds of probe have."""

    classes: tuple[str, ...]
    penalty: float
    """Over the number of tokens, the weight of the penalty beside the mean loss; chosen on held-out documents."""
    shrinkage: float
    """Shrinkage of the metric, chosen likewise."""

    def log_probabilities(self, x: Float[Tensor, "token width"]) -> Float[Tensor, "token class"]:
        """Return the log-probability of each class, as if all classes were equally frequent."""
        raise NotImplementedError

    def accuracy(self, x: Float[Tensor, "token width"], y: Int[Tensor, " token"]) -> float:
        """Return the balanced accuracy: the mean over the classes in `y` of the share that is told rightly."""
        found = self.log_probabilities(x).argmax(dim=-1)
        y = y.to(found.device)
        right = (found == y).double()
        return float(torch.stack([right[y == each].mean() for each in y.unique()]).mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticProbe(Probe):
    """A multinomial logistic regression, for activations as the model gives them."""

    directions: Float[Tensor, "class width"]
    bias: Float[Tensor, " class"]

    def log_probabilities(self, x: Float[Tensor, "token width"]) -> Float[Tensor, "token class"]:  # noqa: D102
        return (x.to(self.directions) @ self.directions.T + self.bias).log_softmax(dim=-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class HarmonicProbe(Probe):
    """Class centres, for activations as the model gives them; distances are taken in the probe's metric."""

    centres: Float[Tensor, "class width"]
    """In raw units: points of the stream."""
    exponent: float
    metric: Metric

    def log_probabilities(self, x: Float[Tensor, "token width"]) -> Float[Tensor, "token class"]:  # noqa: D102
        points, centres = self.metric.to(x), self.metric.to(self.centres)
        return harmonic_log_probabilities(points, centres, self.exponent)


def fit_logistic(
    x: Float[Tensor, "token width"],
    y: Int[Tensor, " token"],
    documents: Int[Tensor, " token"],
    *,
    classes: Sequence[str],
    seed: int = 0,
    like: LogisticProbe | None = None,
) -> LogisticProbe:
    """Fit a logistic probe: cross-entropy with a penalty on the squared weights.

    y: index into `classes`. seed: draws the documents that are held out, a quarter, to choose penalty and metric. like:
    a probe of other documents, whose penalty and kind of metric are taken instead.
    Raises `TooFewError` for a class with fewer than 10 examples or too few documents, and `ValueError` for one class
    alone, for lengths that differ and for activations that are not finite.
    """
    form = Form(scores=_linear, start=lambda given: given.x.new_zeros(len(classes), given.x.shape[1] + 1))
    fit = _fitted((x, y, documents), classes, [form], LOGISTIC_PENALTIES, seed, like)
    directions = fit.metric.gradient_back(fit.found[:, :-1])
    return LogisticProbe(
        classes=tuple(classes),
        penalty=fit.penalty,
        shrinkage=fit.metric.shrinkage,
        directions=directions,
        bias=fit.found[:, -1] - directions @ fit.metric.spread.mean,
    )


def fit_harmonic(
    x: Float[Tensor, "token width"],
    y: Int[Tensor, " token"],
    documents: Int[Tensor, " token"],
    *,
    classes: Sequence[str],
    exponent: float | None = None,
    seed: int = 0,
    like: HarmonicProbe | None = None,
) -> HarmonicProbe:
    """Fit a harmonic probe from the class means: the harmonic loss with a penalty on squared distances to them.

    exponent: of the distance; where it is not given, √width or width, whichever is better on held-out documents.
    like: as in `fit_logistic`, its exponent too. Raises as it does, and for an exponent that is not above 0.
    """
    exponent = like.exponent if like else exponent
    exponents = (math.sqrt(x.shape[1]), float(x.shape[1])) if exponent is None else (check_exponent(exponent),)
    start = partial(_class_means, n_classes=len(classes))
    forms = [
        Form(
            scores=partial(_harmonic, exponent=each), start=start, sharpness=each / x.shape[1], exponent=each
        )  # squared distances are about the width
        for each in exponents
    ]
    fit = _fitted((x, y, documents), classes, forms, HARMONIC_PENALTIES, seed, like)
    return HarmonicProbe(
        classes=tuple(classes),
        penalty=fit.penalty,
        shrinkage=fit.metric.shrinkage,
        centres=fit.metric.back(fit.found),
        exponent=fit.form.exponent,
        metric=fit.metric,
    )


def check_examples(x: Tensor, y: Tensor, documents: Tensor, classes: Sequence[str]) -> None:
    """Refuse what no probe can be fitted to; raises as `fit_logistic` does."""
    if not len(x) == len(y) == len(documents):
        raise ValueError(f"{len(x)} activations, {len(y)} labels and {len(documents)} documents: give as many of each")
    if not x.isfinite().all():
        bad = int((~x.isfinite().all(dim=1)).sum())
        raise ValueError(f"{bad} of {len(x)} activations hold NaN or infinity: leave those tokens out")
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < len(classes):
        raise ValueError(f"labels {int(y.min())} to {int(y.max())}: must be from 0 to {len(classes) - 1}")
    if len(y.unique()) == 1 and len(y) >= FEWEST_EXAMPLES:
        raise ValueError(f"all {len(y)} labels are {classes[int(y[0])]!r}: a probe needs two classes at least")
    for name, count in zip(classes, y.bincount(minlength=len(classes)).tolist(), strict=True):
        if count < FEWEST_EXAMPLES:
            raise TooFewError(
                f"class {name!r} has {count} examples, and a probe needs {FEWEST_EXAMPLES}: give more documents, or"
                " leave the class out"
            )


def _fitted(
    given: tuple[Tensor, Tensor, Tensor],
    classes: Sequence[str],
    forms: Sequence[Form],
    penalties: Sequence[float],
    seed: int,
    like: Probe | None,
) -> Fit:
    check_examples(*given, classes)
    x, y, documents = (each.cpu() for each in given)
    examples = Examples(x=x.double(), y=y)
    if like is not None:
        return fit_with(examples, forms[0], shrinkage=like.shrinkage, penalty=like.penalty)
    return chosen_fit(examples, held_out(y, documents, tuple(classes), seed), forms, penalties)


def _linear(points: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda parameters: points @ parameters[:, :-1].T + parameters[:, -1]


def _harmonic(points: Tensor, *, exponent: float) -> Callable[[Tensor], Tensor]:
    """In a metric, distances are not far below the norms, and a matrix product is exact enough."""
    sizes = points.square().sum(dim=1, keepdim=True)

    def scores(centres: Tensor) -> Tensor:
        squared = sizes - 2 * points @ centres.T + centres.square().sum(dim=1)
        return of_squared_distances(squared.clamp_min(0), exponent)

    return scores


def _class_means(examples: Examples, *, n_classes: int) -> Tensor:
    return torch.stack([examples.x[examples.y == each].mean(dim=0) for each in range(n_classes)])
