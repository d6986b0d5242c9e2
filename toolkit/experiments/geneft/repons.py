"""Two repons: representations x₁ and x₂ that a linear decoder A x + b should map to one target.

With the decoder's mean output at the target, the loss is A² c², where c is half of x₁ − x₂. Gradient flow then gives
dA/dt = −2 η_A c² A and dc/dt = −η_x A² c, under which A²/(2 η_A) − c²/η_x never changes. Where it is above zero, c dies
first: the repons meet, and what was learnt holds for both. Where it is below zero, A dies: the decoder says the
target whatever it is given. Source: Baek et al. 2024 (GenEFT), section on interacting repons.
"""

from dataclasses import dataclass
from math import log

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.integrate import solve_ivp
from torch import Tensor

DEAD = 0.01
"""What has fallen below this share of its start is dead."""
MEET, DIE, UNDECIDED = 1, -1, 0
STARTS, RATES = (0.3, 3.0), (0.005, 0.5)
"""Ranges from which starts and learning rates are drawn, uniformly in their logarithm."""
STEPS = 8000
TARGET = 1.0
HORIZON = 1e4
"""Time to which the equations are integrated, in units of the slower of the two decays at the start."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """Starts and learning rates of many pairs of repons."""

    decoder: Float[Tensor, " draw"]
    """A at the start."""
    distance: Float[Tensor, " draw"]
    """c at the start."""
    decoder_rate: Float[Tensor, " draw"]
    encoder_rate: Float[Tensor, " draw"]

    @classmethod
    def random(cls, n: int, generator: torch.Generator) -> "Draws":
        """Draw them."""

        def drawn(ends: tuple[float, float]) -> Tensor:
            low, high = map(log, ends)
            return (low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)).exp()

        return cls(decoder=drawn(STARTS), distance=drawn(STARTS), decoder_rate=drawn(RATES), encoder_rate=drawn(RATES))

    @property
    def decoder_share(self) -> Float[Tensor, " draw"]:
        """A²/(2 η_A), the decoder's part of the conserved quantity."""
        return self.decoder.square() / (2 * self.decoder_rate)

    @property
    def distance_share(self) -> Float[Tensor, " draw"]:
        """c²/η_x, the repons' part of it."""
        return self.distance.square() / self.encoder_rate

    @property
    def predicted(self) -> Int[Tensor, " draw"]:
        """`MEET` or `DIE`, by the sign of the conserved quantity."""
        return torch.where(self.decoder_share > self.distance_share, MEET, DIE)

    @property
    def first_step(self) -> Float[Tensor, " draw"]:
        """The largest share of A or c that the first step of gradient descent takes away."""
        return torch.maximum(2 * self.decoder_rate * self.distance**2, self.encoder_rate * self.decoder**2)


def by_equations(draws: Draws) -> Int[Tensor, " draw"]:
    """Integrate both equations, in the logarithms of A and c; returns `MEET` or `DIE`, or `UNDECIDED` within `HORIZON`.

    Both logarithms only fall.
    """
    found = []
    columns = (draws.decoder, draws.distance, draws.decoder_rate, draws.encoder_rate)
    for decoder, distance, decoder_rate, encoder_rate in zip(*(each.tolist() for each in columns), strict=True):

        def change(_: float, logs: Float[np.ndarray, " 2"], rates: tuple[float, float]) -> list[float]:
            decoder_squared, distance_squared = np.exp(2 * logs)
            return [-2 * rates[0] * distance_squared, -rates[1] * decoder_squared]

        start, rates = np.log([decoder, distance]), (decoder_rate, encoder_rate)
        slower = -max(change(0.0, start, rates))
        path = solve_ivp(change, (0.0, HORIZON / slower), start, method="LSODA", args=(rates,), rtol=1e-8, atol=1e-10)
        dead = path.y - start[:, None] < log(DEAD)
        died_at = np.where(dead.any(axis=1), dead.argmax(axis=1), np.inf)
        found.append(UNDECIDED if not dead.any() else DIE if died_at[0] < died_at[1] else MEET)
    return torch.tensor(found)


def by_gradient_descent(draws: Draws, means: Float[Tensor, " draw"], *, steps: int = STEPS) -> Int[Tensor, " draw"]:
    """Train x₁, x₂, A and b by gradient descent until A or c is dead; returns `MEET`, `DIE` or `UNDECIDED`.

    The loss is ½ Σ (A xᵢ + b − target)². The repons begin at `means` ± c, and b so that the decoder's mean output is
    the target. The equations hold where the repons' mean is 0; elsewhere the decoder's bias moves too.
    """
    points = torch.stack([means + draws.distance, means - draws.distance])
    decoder, bias = draws.decoder.clone(), TARGET - draws.decoder * means
    outcome = torch.zeros(len(means), dtype=torch.long)
    for _ in range(steps):
        of_points, of_decoder, of_bias = loss_gradients(points, decoder, bias)
        points = points - draws.encoder_rate * of_points
        decoder = decoder - draws.decoder_rate * of_decoder
        bias = bias - draws.decoder_rate * of_bias
        met = (points[0] - points[1]).abs() / 2 < DEAD * draws.distance
        died = decoder.abs() < DEAD * draws.decoder
        outcome = torch.where(outcome != UNDECIDED, outcome, torch.where(met, MEET, torch.where(died, DIE, UNDECIDED)))
        if outcome.all():
            break
    return outcome


def loss_gradients(points: Tensor, decoder: Tensor, bias: Tensor) -> list[Tensor]:
    """Return the gradients of ½ Σ (A xᵢ + b − target)² by the points [2, draw], by A [draw] and by b [draw]."""
    error = decoder * points + bias - TARGET
    return [decoder * error, (error * points).sum(dim=0), error.sum(dim=0)]


def agrees(draws: Draws, outcome: Int[Tensor, " draw"]) -> Bool[Tensor, " draw"]:
    """Whether each pair ended as the sign says; an undecided one did not."""
    return draws.predicted == outcome
