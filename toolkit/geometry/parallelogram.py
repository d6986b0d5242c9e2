"""Parallelogram loss of word pairs: how far the step a→b is from the step c→d (Baek & Tegmark 2025)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.statistics.resampling import random_cycle, resample_counts
from toolkit.tracking import track

MOST_QUADRUPLES = 2_000_000
LOSSES_AT_ONCE = 200_000
PERCENTILES = torch.linspace(0, 1, 101, dtype=torch.float64)

Measure = Callable[
    [Float[Tensor, "block pair dims"], Float[Tensor, "block pair dims"]], Float[Tensor, "block pair pair"]
]
"""A loss for every two pairs of a block, from first words and second words."""


def relative_losses(
    first: Float[Tensor, "block pair dims"], second: Float[Tensor, "block pair dims"]
) -> Float[Tensor, "block pair pair"]:
    """Return ‖a − b − c + d‖ / √(‖a‖² + ‖b‖² + ‖c‖² + ‖d‖²) for every two pairs (a, b), (c, d).

    Lies in [0, 2]; about 0.99 for Gaussian noise. Not invariant to translation: a large common offset alone drives it
    to zero, so words are centred first. Source: Baek & Tegmark 2025.
    """
    step = first - second
    size = first.square().sum(dim=2) + second.square().sum(dim=2)
    return torch.cdist(step, step) / (size[:, :, None] + size[:, None, :]).sqrt()


def scaled_losses(
    first: Float[Tensor, "block pair dims"], second: Float[Tensor, "block pair dims"]
) -> Float[Tensor, "block pair pair"]:
    """Return ‖a − b − c + d‖² over the mean squared norm of all words, for every two pairs (a, b), (c, d).

    About 4 for Gaussian noise. All share one scale, while `relative_losses` scales each quadruple. Source: Baek, Liu,
    Tyagi & Tegmark 2025 (harmonic loss), for input embeddings.
    """
    step = first - second
    scale = torch.stack([first, second]).square().sum(dim=3).mean()
    return torch.cdist(step, step).square() / scale


@dataclass(frozen=True, kw_only=True)
class PairDraws:
    """All random choices of a comparison, so that models and dimensions are compared on the same ones."""

    blocks: Int[Tensor, "block pair_in_block"]
    """Pairs of one block are compared with each other. There is one block, of all pairs, unless that makes more
    than `MOST_QUADRUPLES` pairs of pairs; then random blocks of one size, which leave over less than a block."""
    partners: Int[Tensor, "shuffle pair"]
    """The pair whose second word each first word gets in a shuffle: never its own."""
    weights: Float[Tensor, "resample pair"]
    """How often each resample, with replacement, holds each pair."""

    @classmethod
    def draw(
        cls, n_pairs: int, generator: torch.Generator, *, shuffles: int = 100, resamples: int = 500
    ) -> "PairDraws":
        """Draw for `n_pairs` pairs; the generator is on the CPU.

        Raises `ValueError` for fewer than four pairs: two shuffled pairs take their words from four.
        """
        if n_pairs < 4:
            raise ValueError(f"{n_pairs} word pairs have no shuffled ones to compare with: give at least four")
        return cls(
            blocks=_blocks(n_pairs, generator),
            partners=torch.stack([random_cycle(n_pairs, generator) for _ in range(shuffles)]),
            weights=resample_counts(n_pairs, resamples, generator),
        )


@dataclass(frozen=True, kw_only=True)
class ParallelogramLoss:
    """The loss over all pairs of pairs, and its null: the same loss with second words shuffled."""

    loss: float
    """Mean loss over pairs of pairs."""
    shuffled: float
    """The null: mean over shuffles of their mean over pairs of pairs whose words come from four pairs."""
    n: int
    """Number of pairs of pairs."""
    quantiles: Float[Tensor, " percentile"]
    """The loss at each percentile from 0 to 100, over pairs of pairs."""
    shuffled_quantiles: Float[Tensor, " percentile"]
    """The loss at each percentile in a shuffle, averaged over shuffles."""
    shuffled_means: Float[Tensor, " shuffle"]
    """Mean loss of each shuffle."""
    resampled: Float[Tensor, " resample"]
    """Mean loss when the pairs are drawn again with replacement; NaN where all draws are one pair."""
    resampled_shuffled: Float[Tensor, " resample"]
    """Mean loss of the shuffles in each of the same resamples."""

    @property
    def median(self) -> float:
        """Median loss over pairs of pairs."""
        return float(self.quantiles[50])

    @property
    def ratio(self) -> float:
        """Loss divided by its shuffled null; below 1, the pairs share a step."""
        return self.loss / self.shuffled

    @property
    def gap(self) -> float:
        """Shuffled null minus the loss; above 0, the pairs share a step."""
        return self.shuffled - self.loss

    @property
    def resampled_gaps(self) -> Float[Tensor, " resample"]:
        """The gap in each resample; subtract another model's, from the same draws, for a paired comparison."""
        return self.resampled_shuffled - self.resampled

    @property
    def p_value(self) -> float:
        """Share of shuffles, the true pairing among them, whose mean loss is not above the true one."""
        return float((self.shuffled_means <= self.loss).sum() + 1) / (len(self.shuffled_means) + 1)


def parallelogram_loss(
    first: Float[Tensor, "pair dims"],
    second: Float[Tensor, "pair dims"],
    draws: PairDraws,
    measure: Measure = relative_losses,
) -> ParallelogramLoss:
    """Return the loss of the pairs (first[i], second[i]), coordinates of centred words, on the given draws.

    Two shuffled pairs are compared where their four words come from four pairs: a pair's own two words, alike, would
    add up in a − b − c + d. Resampling keeps the coordinates: the principal components are not fitted anew.
    """
    assert len(first) == draws.weights.shape[1], f"{len(first)} pairs, draws for {draws.weights.shape[1]}"
    first, second = first.cpu().double(), second.cpu().double()  # on the CPU, as the draws are
    blocks = draws.blocks
    losses = measure(first[blocks], second[blocks])
    apart = ~torch.eye(blocks.shape[1], dtype=torch.bool).expand_as(losses)
    values = losses[apart.triu()]
    loss_sum, weight_sum = _weighted_sums(losses, apart, draws.weights[:, blocks])
    means, quantiles, resampled = _shuffled(first, second, draws, measure)
    return ParallelogramLoss(
        loss=float(values.mean()),
        shuffled=float(means.mean()),
        n=len(values),
        quantiles=values.quantile(PERCENTILES),
        shuffled_quantiles=quantiles,
        shuffled_means=means,
        resampled=loss_sum / weight_sum,
        resampled_shuffled=resampled,
    )


def _blocks(n_pairs: int, generator: torch.Generator) -> Tensor:
    n_blocks = -(-n_pairs * (n_pairs - 1) // (2 * MOST_QUADRUPLES))
    size = n_pairs // n_blocks
    order = torch.randperm(n_pairs, generator=generator) if n_blocks > 1 else torch.arange(n_pairs)
    return order[: n_blocks * size].view(n_blocks, size)


def _shuffled(
    first: Float[Tensor, "pair dims"], second: Float[Tensor, "pair dims"], draws: PairDraws, measure: Measure
) -> tuple[Float[Tensor, " shuffle"], Float[Tensor, " percentile"], Float[Tensor, " resample"]]:
    """Mean of each shuffle, quantiles of a shuffle on average, mean over all in each resample."""
    n_blocks, size = draws.blocks.shape
    sums = torch.zeros(2, len(draws.weights))
    means: list[Tensor] = []
    quantiles: list[Tensor] = []
    together = max(1, LOSSES_AT_ONCE // (n_blocks * size**2))
    for partners in track(draws.partners.split(together), "shuffles", "shuffles", total=len(draws.partners), size=len):
        own, given = draws.blocks.repeat(len(partners), 1), partners[:, draws.blocks].flatten(0, 1)
        losses = measure(first[own], second[given])
        counted = _of_four_pairs(own, given)
        # A shuffled pair is in a resample as often as its first word and its second word are drawn together.
        sums += _weighted_sums(losses, counted, draws.weights[:, own] * draws.weights[:, given])
        by_shuffle = zip(*(part.view(len(partners), -1) for part in (losses, counted.triu())), strict=True)
        values = [of_shuffle[kept] for of_shuffle, kept in by_shuffle]
        means += [each.mean() for each in values]
        quantiles += [each.quantile(PERCENTILES) for each in values]
    return torch.stack(means), torch.stack(quantiles).mean(dim=0), sums[0] / sums[1]


def _of_four_pairs(own: Int[Tensor, "block pair"], given: Int[Tensor, "block pair"]) -> Bool[Tensor, "block pair pair"]:
    """Whether two shuffled pairs differ, and neither got its second word from the other."""
    met = (given[:, :, None] == own[:, None, :]) | torch.eye(own.shape[1], dtype=torch.bool)
    return ~(met | met.transpose(1, 2))


def _weighted_sums(
    losses: Float[Tensor, "block pair pair"],
    counted: Bool[Tensor, "block pair pair"],
    weights: Float[Tensor, "resample block pair"],
) -> Float[Tensor, "2 resample"]:
    """Sum of w_i w_j loss_ij over the pairs of pairs that count, and of w_i w_j."""
    by_block = weights.transpose(0, 1)
    terms = (losses * counted).float(), counted.float()
    return torch.stack([((by_block @ term) * by_block).sum(dim=(0, 2)) for term in terms])
