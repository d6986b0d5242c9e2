"""Fits a probe's parameters, with the settings that do best on documents that were held out."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.library_warnings import ToolkitWarning
from toolkit.probes.metric import Metric, Spread

SHRINKAGES = (0.1, 100.0)
"""Metrics to choose from: nearly white, and nearly the raw one."""
MOST_TO_CHOOSE = 800
"""Tokens of each class that are fitted at most while settings are chosen; held-out ones are all read."""
STEPS = 1000
TOLERANCE, TOLERANCE_OF_CHOICE = 1e-6, 1e-5
"""The optimiser has converged when a step lowers the loss by less than this, in nats; to choose settings by, it need
not come as close, nor in double precision."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Activations and their classes, by index."""

    x: Float[Tensor, "token width"]
    y: Int[Tensor, " token"]

    def at(self, chosen: Bool[Tensor, " token"]) -> "Examples":
        """Some of them."""
        return Examples(x=self.x[chosen], y=self.y[chosen])

    def thinned(self, most: int) -> "Examples":
        """Every so many-th of each class, so that none has more than `most`."""
        places = [(self.y == each).nonzero()[:, 0] for each in self.y.unique()]
        kept = torch.cat([of_class[:: -(-len(of_class) // most)] for of_class in places])
        return Examples(x=self.x[kept], y=self.y[kept])


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """One form of probe: what it computes from parameters and points, in any metric, and where its fit starts."""

    scores: Callable[[Tensor], Callable[[Tensor], Tensor]]
    """From points to what gives their logits for any parameters."""
    start: Callable[[Examples], Tensor]
    """From examples in the metric to the first parameters: the penalty is on what moves from there, but for the bias, a
    column after those of the width."""
    sharpness: float = 1.0
    """How much a logit changes as a parameter moves by 1, per unit of its coordinate."""
    exponent: float = float("nan")
    """Of a harmonic probe."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """Parameters, and the settings that they were fitted with."""

    form: Form
    metric: Metric
    penalty: float
    """Over the number of tokens, the weight of the penalty beside the mean loss: it weighs as much as so many tokens,
    whatever their number is."""
    found: Float[Tensor, "class parameter"]
    held_out_loss: float = math.nan
    """Cross-entropy on held-out documents, each class weighing the same, in nats; NaN where none were held out."""


def chosen_fit(
    examples: Examples, out: Bool[Tensor, " token"], forms: Sequence[Form], penalties: Sequence[float]
) -> Fit:
    """Fit every form in every metric with falling penalties, and the best settings again to all examples.

    out: the tokens that choose. Warns as `fit_with` does.
    """
    fitting, choosing = examples.at(~out).thinned(MOST_TO_CHOOSE), examples.at(out)
    spread = Spread.of(fitting.x)
    metrics = [Metric(spread=spread, shrinkage=each) for each in SHRINKAGES]
    paths = [_best_of_path(fitting, choosing, form, metric, penalties) for metric in metrics for form in forms]
    best = min(paths, key=lambda fit: fit.held_out_loss)
    return fit_with(examples, best.form, shrinkage=best.metric.shrinkage, penalty=best.penalty)


def fit_with(examples: Examples, form: Form, *, shrinkage: float, penalty: float) -> Fit:
    """Fit one form to all examples with settings that are given; warns where the fit does not converge."""
    metric = Metric(spread=Spread.of(examples.x), shrinkage=shrinkage)
    inside = Examples(x=metric.to(examples.x), y=examples.y)
    start = form.start(inside)
    found, converged = _least(inside, form, penalty, start, start, TOLERANCE)
    if not converged:
        warnings.warn(
            f"a probe of {len(examples.y)} examples did not converge in {STEPS} steps: its parameters depend on where"
            " it started",
            ToolkitWarning,
            stacklevel=3,
        )
    return Fit(form=form, metric=metric, penalty=penalty, found=found)


def balanced_cross_entropy(logits: Float[Tensor, "token class"], y: Int[Tensor, " token"]) -> Float[Tensor, ""]:
    """Return the mean over the classes in `y` of the mean cross-entropy of their tokens, in nats."""
    y = y.to(logits.device)
    counts = y.bincount(minlength=logits.shape[1])
    weights = 1 / (counts.clamp_min(1) * (counts > 0).sum()).to(logits)
    return (cross_entropy(logits, y, reduction="none") * weights[y]).sum()


def _best_of_path(fitting: Examples, choosing: Examples, form: Form, metric: Metric, penalties: Sequence[float]) -> Fit:
    """The best fit along falling penalties, each from where the last one ended, until one does worse."""
    inside = Examples(x=metric.to(fitting.x).float(), y=fitting.y)
    outside = form.scores(metric.to(choosing.x).float())
    start = found = form.start(inside)
    best: Fit | None = None
    for penalty in penalties:
        found, _ = _least(inside, form, penalty, start, found, TOLERANCE_OF_CHOICE)
        loss = float(balanced_cross_entropy(outside(found), choosing.y))
        if best is not None and loss >= best.held_out_loss:
            break
        best = Fit(form=form, metric=metric, penalty=penalty, found=found, held_out_loss=loss)
    assert best is not None, "a path needs a penalty"
    return best


def _least(
    examples: Examples, form: Form, penalty: float, start: Tensor, first: Tensor, tolerance: float
) -> tuple[Float[Tensor, "class parameter"], bool]:
    """Where the penalised loss is least, by L-BFGS from `first`, and whether it converged.

    Steps are taken in units in which the loss curves about alike along all coordinates, so that few are needed.
    """
    width, n_classes, weight = examples.x.shape[1], len(start), penalty / len(examples.y)
    curvature = form.sharpness**2 * examples.x.square().mean(dim=0) * (n_classes - 1) / n_classes**2 + 2 * weight
    unit = torch.ones_like(start[0])
    unit[:width] = curvature.rsqrt()
    scores = form.scores(examples.x)

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        moved = torch.from_numpy(flat).to(start).view_as(start).requires_grad_()
        parameters = start + moved * unit
        size = (parameters - start)[:, :width].square().sum()
        loss = balanced_cross_entropy(scores(parameters), examples.y) + weight * size
        (gradient,) = torch.autograd.grad(loss, moved)
        return float(loss.detach()), gradient.double().numpy().ravel()

    options = {"maxiter": STEPS, "ftol": tolerance}
    moved = ((first - start) / unit).double().numpy().ravel()
    found = minimize(value, moved, jac=True, method="L-BFGS-B", options=options)
    return start + torch.from_numpy(found.x).to(start).view_as(start) * unit, bool(found.success)
