"""Logistic and harmonic probes of frozen activations, fitted with one optimiser and one choice of penalty."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import minimize
from torch import Tensor

from toolkit.leaving_out import TooFewError
from toolkit.probes.harmonic import harmonic_log_probabilities

FEWEST_EXAMPLES = 10
"""A class with fewer examples has no probe."""
PENALTIES = (1.0, 0.1, 0.01, 1e-3)
STEPS = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """What both kinds of probe have."""

    classes: tuple[str, ...]
    penalty: float
    """Weight of the penalty, chosen on held-out documents."""
    converged: bool
    """Whether the optimiser reached its stopping rule."""

    def log_probabilities(self, x: Float[Tensor, "token width"]) -> Float[Tensor, "token class"]:
        """Return the log-probability of each class, all classes being equally frequent."""
        raise NotImplementedError

    def accuracy(self, x: Float[Tensor, "token width"], y: Int[Tensor, " token"]) -> float:
        """Return the balanced accuracy: the mean over the classes in `y` of the share that is told rightly."""
        right = (self.log_probabilities(x).argmax(dim=-1) == y).double()
        return float(torch.stack([right[y == each].mean() for each in y.unique()]).mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticProbe(Probe):
    """A logistic regression in raw units."""

    directions: Float[Tensor, "class width"]
    bias: Float[Tensor, " class"]

    def log_probabilities(self, x: Float[Tensor, "token width"]) -> Float[Tensor, "token class"]:  # noqa: D102
        return (x.to(self.directions) @ self.directions.T + self.bias).log_softmax(dim=-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class HarmonicProbe(Probe):
    """Class centres in raw units."""

    centres: Float[Tensor, "class width"]
    exponent: float
    epsilon: float

    def log_probabilities(self, x: Float[Tensor, "token width"]) -> Float[Tensor, "token class"]:  # noqa: D102
        return harmonic_log_probabilities(x.to(self.centres), self.centres, self.exponent, self.epsilon)


def fit_logistic(
    x: Float[Tensor, "token width"],
    y: Int[Tensor, " token"],
    documents: Int[Tensor, " token"],
    *,
    classes: Sequence[str],
    seed: int = 0,
) -> LogisticProbe:
    """Fit a logistic probe; `y` counts in `classes`, and each class weighs the same, however many examples it has.

    Raises `ValueError` for a class with fewer than 10 examples, for lengths that differ, and for NaN.
    """
    check(x, y, documents, classes)
    points, shift, scale = standard(x)
    zeros = torch.zeros(len(classes), x.shape[1] + 1, dtype=torch.float64)

    def loss(w: Tensor) -> Tensor:
        return balanced(points @ w[:, :-1].T + w[:, -1], y, len(classes)) + PENALTIES[1] * w[:, :-1].square().sum()

    found, converged = least(loss, zeros)
    directions = found[:, :-1] / scale
    bias = found[:, -1] - directions @ shift
    return LogisticProbe(
        classes=tuple(classes), penalty=PENALTIES[1], converged=converged, directions=directions, bias=bias
    )


def fit_harmonic(
    x: Float[Tensor, "token width"],
    y: Int[Tensor, " token"],
    documents: Int[Tensor, " token"],
    *,
    classes: Sequence[str],
    exponent: float | None = None,
    seed: int = 0,
) -> HarmonicProbe:
    """Fit a harmonic probe from the class means; `y` counts in `classes`, and each class weighs the same.

    exponent: of the distance; √width where it is not given. Raises `ValueError` as `fit_logistic` does.
    """
    check(x, y, documents, classes)
    exponent = math.sqrt(x.shape[1]) if exponent is None else exponent
    points, shift, scale = standard(x)
    means = torch.stack([points[y == each].mean(dim=0) for each in range(len(classes))])

    def loss(w: Tensor) -> Tensor:
        fit = balanced(harmonic_log_probabilities(points, w, exponent), y, len(classes))
        return fit + PENALTIES[1] * (w - means).square().sum()

    found, converged = least(loss, means)
    return HarmonicProbe(
        classes=tuple(classes),
        penalty=PENALTIES[1],
        converged=converged,
        centres=found * scale + shift,
        exponent=exponent,
        epsilon=1e-4 * scale**2,
    )


def standard(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return the points, centred and divided by one factor that makes their mean square 1 a dimension."""
    points = x.double()
    shift = points.mean(dim=0)
    scale = float((points - shift).square().mean().sqrt())
    return (points - shift) / scale, shift, scale


def balanced(logits: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Return the cross-entropy, each class weighing the same."""
    losses = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    weight = 1 / (n_classes * y.bincount(minlength=n_classes).double())
    return (losses * weight[y]).sum()


def check(x: Tensor, y: Tensor, documents: Tensor, classes: Sequence[str]) -> None:
    """Refuse what cannot be fitted."""
    if not len(x) == len(y) == len(documents):
        raise ValueError(f"{len(x)} activations, {len(y)} labels, {len(documents)} documents: give as many of each")
    if not x.isfinite().all():
        raise ValueError("activations hold NaN or infinity: leave out such tokens")
    for name, count in zip(classes, y.bincount(minlength=len(classes)).tolist(), strict=True):
        if count < FEWEST_EXAMPLES:
            raise TooFewError(
                f"class {name!r} has {count} examples, and a probe needs {FEWEST_EXAMPLES} of each: read more text"
            )


def least(loss: Callable[[Tensor], Tensor], start: Tensor) -> tuple[Tensor, bool]:
    """Return where the loss is least, from `start`, by L-BFGS."""

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = torch.from_numpy(flat).view_as(start).requires_grad_()
        at = loss(w)
        (gradient,) = torch.autograd.grad(at, w)
        return float(at.detach()), gradient.numpy().ravel()

    found = minimize(value, start.numpy().ravel(), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return torch.from_numpy(found.x).view_as(start), bool(found.success)
