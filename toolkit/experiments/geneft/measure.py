"""Lets pairs of repons meet or die, and trains the graph's autoencoders."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from toolkit.experiments.geneft import GenEFTConfig
from toolkit.experiments.geneft.graph import PHASES, Accuracy, Training, train_autoencoders
from toolkit.experiments.geneft.repons import Draws, agrees, by_equations, by_gradient_descent
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.seeds import mean_of_seeds
from toolkit.statistics.shares import wilson

EQUATIONS, DESCENT, OFF_ORIGIN = "equations", "gradient descent", "gradient descent, mean off the origin"
SHUFFLED = "predictions of other draws"
FAST_ENCODER, FAST_DECODER = "fast encoder", "fast decoder"


@dataclass(frozen=True, kw_only=True, eq=False)
class Repons:
    """What became of the pairs of repons, by how they moved."""

    draws: Draws
    outcomes: dict[str, Int[Tensor, " draw"]]
    shuffled: Bool[Tensor, " draw"]
    """The control: whether gradient descent ended as the sign of another draw says."""

    def agrees(self, how: str) -> Bool[Tensor, " draw"]:
        """Whether each pair ended as the sign of its conserved quantity says."""
        return agrees(self.draws, self.outcomes[how])

    @property
    def agreement(self) -> dict[str, Estimate]:
        """Share of the draws that ended as the sign says, and the control."""
        by_how = {how: self.agrees(how) for how in self.outcomes} | {SHUFFLED: self.shuffled}
        return {name: wilson(int(each.sum()), len(each)) for name, each in by_how.items()}

    @property
    def agreement_of_both(self) -> Estimate:
        """Share of the draws in which the equations and gradient descent both end as the sign says."""
        both = self.agrees(EQUATIONS) & self.agrees(DESCENT)
        return wilson(int(both.sum()), len(both))


@dataclass(frozen=True)
class Autoencoders:
    """The autoencoders of one pair of rates and one fraction, seed by seed."""

    encoder_rate: float
    decoder_rate: float
    fraction: float
    accuracies: tuple[Accuracy, ...]

    @property
    def tested(self) -> Estimate:
        """Mean share of right test pairs over seeds; a seed has initial weights and training pairs of its own."""
        return mean_of_seeds([each.tested for each in self.accuracies]).within(0.0, 1.0)

    @property
    def trained(self) -> Estimate:
        """The same of training pairs."""
        return mean_of_seeds([each.trained for each in self.accuracies]).within(0.0, 1.0)

    @property
    def phases(self) -> dict[str, int]:
        """How many seeds ended in each phase."""
        found = [each.phase for each in self.accuracies]
        return {phase: found.count(phase) for phase in PHASES}


@dataclass(frozen=True, kw_only=True, eq=False)
class GenEFT:
    """Repons, and autoencoders by rates and by fraction."""

    repons: Repons
    by_rates: tuple[Autoencoders, ...]
    """Every pair of rates, encoder first, at one fraction."""
    by_fraction: dict[str, tuple[Autoencoders, ...]]
    """With a fast encoder and with a fast decoder, by rising fraction."""

    @property
    def gain_of_fast_encoders(self) -> Estimate:
        """Test accuracy where the encoder's rate is the larger one, less where the decoder's is; over seeds."""
        faster = [each for each in self.by_rates if each.encoder_rate > each.decoder_rate]
        slower = [each for each in self.by_rates if each.encoder_rate < each.decoder_rate]
        return mean_of_seeds([a - b for a, b in zip(_by_seed(faster), _by_seed(slower), strict=True)])


def measure(settings: GenEFTConfig, opened: None = None) -> GenEFT:
    """Run both parts; nothing is read."""
    chance = torch.Generator().manual_seed(settings.seed)
    repons = _repons(Draws.random(settings.draws, chance), chance)
    rates = sorted(settings.rates)
    # Training at the smallest rate does not end within the default steps.
    fast, slow = rates[-1], rates[min(1, len(rates) - 2)]
    scans = {FAST_ENCODER: (fast, slow), FAST_DECODER: (slow, fast)}
    grid = [(*pair, settings.fraction) for pair in product(rates, rates)]
    scanned = [(*pair, fraction) for pair in scans.values() for fraction in sorted(settings.fractions)]
    found = _autoencoders([*grid, *scanned], settings)
    by_fraction, n = found[len(grid) :], len(settings.fractions)
    return GenEFT(
        repons=repons,
        by_rates=tuple(found[: len(grid)]),
        by_fraction={name: tuple(by_fraction[place * n : (place + 1) * n]) for place, name in enumerate(scans)},
    )


def _repons(draws: Draws, chance: torch.Generator) -> Repons:
    n = len(draws.decoder)
    means = torch.randn(n, generator=chance, dtype=torch.float64)
    outcomes = {
        EQUATIONS: by_equations(draws),
        DESCENT: by_gradient_descent(draws, torch.zeros_like(means)),
        OFF_ORIGIN: by_gradient_descent(draws, means),
    }
    others = torch.randperm(n, generator=chance)
    return Repons(draws=draws, outcomes=outcomes, shuffled=draws.predicted[others] == outcomes[DESCENT])


def _autoencoders(asked: Sequence[tuple[float, float, float]], settings: GenEFTConfig) -> list[Autoencoders]:
    """Train those of every seed at each (encoder rate, decoder rate, fraction)."""
    seeds = range(settings.seed, settings.seed + settings.seeds)
    accuracies = iter(train_autoencoders([Training(*each, seed) for each in asked for seed in seeds], settings.steps))
    return [Autoencoders(*each, tuple(islice(accuracies, settings.seeds))) for each in asked]


def _by_seed(groups: Sequence[Autoencoders]) -> list[float]:
    each = zip(*(group.accuracies for group in groups), strict=True)
    return [sum(one.tested for one in of_seed) / len(of_seed) for of_seed in each]
