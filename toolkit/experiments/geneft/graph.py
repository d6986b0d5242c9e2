"""An autoencoder of a small graph: 30 nodes, of which two are linked where their numbers are equal modulo 3.

The encoder is a table of one vector a node, the decoder a network that reads two of them and tells whether the nodes
are linked. It is trained on some pairs of nodes and tested on the others. Source: Baek et al. 2024 (GenEFT).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import factorial, log2

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.tracking import track

NODES, MODULUS = 30, 3
WIDTH, HIDDEN = 4, 32
BETAS, EPSILON = (0.9, 0.999), 1e-8
PAIRS = torch.tensor(list(combinations(range(NODES), 2)))
LINKED = PAIRS[:, 0] % MODULUS == PAIRS[:, 1] % MODULUS
GENERALISES, MEMORISES, NOT_LEARNT = PHASES = ("generalises", "memorises", "does not learn")
LEARNT = 0.9
"""Share of right pairs from which training pairs count as learnt, and others as generalised to."""


@dataclass(frozen=True)
class Training:
    """How one autoencoder is trained."""

    encoder_rate: float
    decoder_rate: float
    fraction: float
    """Share of the pairs that it is trained on."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share of pairs that an autoencoder tells rightly."""

    trained: float
    tested: float

    @property
    def phase(self) -> str:
        """What became of it: it generalises, it memorises, or it does not even learn its training pairs."""
        if self.trained < LEARNT:
            return NOT_LEARNT
        return GENERALISES if self.tested >= LEARNT else MEMORISES


def bits_of_graph() -> float:
    """Return the bits that tell this graph from its relabelled copies: log₂(n! / |Aut|)."""
    size = NODES // MODULUS
    return log2(factorial(NODES) / (factorial(size) ** MODULUS * factorial(MODULUS)))


def least_fraction() -> float:
    """Return the share of the pairs below which they hold fewer bits than the graph, each bit by bit at its entropy.

    It is a bound, not the place of the transition, for which there is no closed form. Source: the paper, section on
    the critical data size.
    """
    linked = float(LINKED.double().mean())
    entropy = -linked * log2(linked) - (1 - linked) * log2(1 - linked)
    return bits_of_graph() / (entropy * len(PAIRS))


def train_autoencoders(trainings: Sequence[Training], steps: int) -> list[Accuracy]:
    """Train all autoencoders side by side, each with Adam at its own rates, on all its pairs in every step.

    Those of one seed begin with the same weights, and a larger fraction holds the pairs of a smaller one.
    """
    weights = [torch.stack(of_layer) for of_layer in zip(*(_initial(each.seed) for each in trainings), strict=True)]
    trained = torch.stack([_training_pairs(each) for each in trainings])
    share = trained / trained.sum(dim=1, keepdim=True)
    target = LINKED.float().expand(len(trainings), -1)
    encoder, decoder = (
        torch.tensor([getattr(each, name) for each in trainings])[:, None, None]
        for name in ("encoder_rate", "decoder_rate")
    )
    moments = [(torch.zeros_like(each), torch.zeros_like(each)) for each in weights]
    for step in track(range(1, steps + 1), "training autoencoders", "steps"):
        for each in weights:
            each.requires_grad_()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(_logits(weights), target, reduction="none")
        gradients = torch.autograd.grad((loss * share).sum(), weights)
        for number, (weight, gradient, (first, second)) in enumerate(zip(weights, gradients, moments, strict=True)):
            rate = decoder if number else encoder
            weights[number] = _adam(weight.detach(), gradient, first, second, rate, step)
    right = (_logits(weights) > 0) == LINKED
    return [
        Accuracy(trained=float(of_one[on].float().mean()), tested=float(of_one[~on].float().mean()))
        for of_one, on in zip(right, trained, strict=True)
    ]


def _initial(seed: int) -> list[Tensor]:
    chance = torch.Generator().manual_seed(seed)
    table = torch.randn(NODES, WIDTH, generator=chance)
    sizes = (2 * WIDTH, HIDDEN, 1)
    weights = [(2 * torch.rand(width, out, generator=chance) - 1) / width**0.5 for width, out in pairwise(sizes)]
    return [table, weights[0], torch.zeros(1, sizes[1]), weights[1], torch.zeros(1, 1)]


def _training_pairs(training: Training) -> Bool[Tensor, " pair"]:
    order = torch.randperm(len(PAIRS), generator=torch.Generator().manual_seed(2**16 + training.seed))
    chosen = torch.zeros(len(PAIRS), dtype=torch.bool)
    chosen[order[: max(1, round(training.fraction * len(PAIRS)))]] = True
    return chosen


def _logits(weights: Sequence[Tensor]) -> Float[Tensor, "autoencoder pair"]:
    table, into, into_bias, out, out_bias = weights
    both = torch.cat([table[:, PAIRS[:, 0]], table[:, PAIRS[:, 1]]], dim=2)
    return torch.baddbmm(out_bias, torch.baddbmm(into_bias, both, into).tanh(), out)[..., 0]


def _adam(weight: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rate: Tensor, step: int) -> Tensor:
    """One step of Adam (Kingma & Ba 2015) with a rate for each autoencoder, which torch's optimiser does not take."""
    first.lerp_(gradient, 1 - BETAS[0])
    second.lerp_(gradient.square(), 1 - BETAS[1])
    mean, square = first / (1 - BETAS[0] ** step), second / (1 - BETAS[1] ** step)
    return weight - rate * mean / (square.sqrt() + EPSILON)
