"""Does the harmonic loss make a flat map of a lattice? The check of an implementation, on a task of 25 points.

Tokens are the points of a 5 × 5 lattice. A network is shown a, b and c, and completes the parallelogram: d = b + c − a.
Its embeddings are its last layer's weights too, as in the authors' code (KindXiaoming/grow-crystals), from which the
sizes are. By the harmonic loss these should come to lie in a plane, the lattice in it; by cross-entropy, after as many
steps, they should not. Source: Baek, Liu, Tyagi & Tegmark 2025, section 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, silu

from toolkit.geometry.components import Components
from toolkit.probes.harmonic import HarmonicLinear
from toolkit.tracking import track

SIDE, WIDTH, HIDDEN = 5, 16, 100
PROBLEMS, TRAINING = 1000, 800
BATCH, LEARNING_RATE, WEIGHT_DECAY, EMBEDDING_PENALTY = 32, 2e-3, 0.01, 0.01
EXPONENTS = (2.0, 4.0)
"""Of the distance; the authors' code has half of them, on the squared distance."""
CROSS_ENTROPY = "cross-entropy"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedLattice:
    """What a network's embeddings became."""

    embeddings: Float[Tensor, "point width"]
    """Point 5·row + column is row by row."""
    accuracy: float
    """Share of the held-out problems that are completed rightly."""

    @property
    def in_plane(self) -> float:
        """Share of the embeddings' variance along their first two principal components."""
        return Components.fit(self.embeddings).variance_explained(2)


Lattices = Mapping[str, Sequence[TrainedLattice]]
"""By loss, one network a seed."""


def name_of(exponent: float | None) -> str:
    """What the loss is called."""
    return CROSS_ENTROPY if exponent is None else f"harmonic, exponent {exponent:g}"


def measure_lattices(steps: int, seeds: int, first_seed: int = 0) -> Lattices:
    """Train networks by each loss; a seed draws the problems, the first weights and the batches, alike for all."""
    losses = [*EXPONENTS, None]
    runs = [(exponent, first_seed + seed) for exponent in losses for seed in range(seeds)]
    trained: dict[str, list[TrainedLattice]] = {name_of(exponent): [] for exponent in losses}
    for exponent, seed in track(runs, "training on the lattice", "networks", total=len(runs)):
        trained[name_of(exponent)].append(train(steps, exponent, seed))
    return trained


class LatticeNetwork(nn.Module):
    """Two layers between embeddings and the last layer, whose weight the embeddings are."""

    def __init__(self, exponent: float | None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3 * WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        last = nn.Linear(WIDTH, SIDE**2) if exponent is None else HarmonicLinear(WIDTH, SIDE**2, exponent=exponent)
        self.last = last

    def forward(self, points: Int[Tensor, "problem 3"]) -> Float[Tensor, "problem point"]:
        """Return the logits of the fourth point."""
        return self.last(self.second(silu(self.first(self.last.weight[points].flatten(1)))))


def problems(n: int, generator: torch.Generator) -> tuple[Int[Tensor, "problem 3"], Int[Tensor, " problem"]]:
    """Draw a, b and c, and their d, until n of them have a d that is on the lattice."""
    drawn = torch.randint(SIDE, (10 * n, 3, 2), generator=generator)  # about a third have one
    fourth = drawn[:, 1] + drawn[:, 2] - drawn[:, 0]
    inside = ((fourth >= 0) & (fourth < SIDE)).all(dim=1)
    place = torch.tensor([SIDE, 1])
    return (drawn[inside][:n] * place).sum(dim=-1), (fourth[inside][:n] * place).sum(dim=-1)


def train(steps: int, exponent: float | None, seed: int) -> TrainedLattice:
    """Train one network, by cross-entropy where there is no exponent; all but the last layer is the same."""
    generator = torch.Generator().manual_seed(seed)
    given, wanted = problems(PROBLEMS, generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LatticeNetwork(exponent)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(steps):
        batch = torch.randint(TRAINING, (BATCH,), generator=generator)
        size = network.last.weight.square().mean(dim=0).sqrt().mean()
        loss = cross_entropy(network(given[batch]), wanted[batch]) + EMBEDDING_PENALTY * size
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        right = network(given[TRAINING:]).argmax(dim=1) == wanted[TRAINING:]
    return TrainedLattice(embeddings=network.last.weight.detach().clone(), accuracy=float(right.double().mean()))
