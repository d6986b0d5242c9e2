"""Parallelogram loss of word pairs: how far the step a→b is from the step c→d (Baek & Tegmark 2025)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.statistics.estimates import Estimate, jackknife
from toolkit.statistics.resampling import random_cycle
from toolkit.tracking import track

MOST_QUADRUPLES = 2_000_000
LOSSES_AT_ONCE = 200_000
MOST_LEFT_OUT = 40
"""Pairs are left out in as many groups at most, one pair a group where there are no more pairs."""
SHUFFLES_WITHOUT = 10
"""So many of the shuffles are measured again where pairs are left out."""
UNIT = "word pair"
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
    left_out: Bool[Tensor, "group pair"]
    """Which pairs are left out together; each pair once."""

    @classmethod
    def draw(cls, n_pairs: int, generator: torch.Generator, *, shuffles: int = 100) -> "PairDraws":
        """Draw for `n_pairs` pairs; the generator is on the CPU.

        Raises `ValueError` for fewer than four pairs: two shuffled pairs take their words from four.
        """
        if n_pairs < 4:
            raise ValueError(f"{n_pairs} word pairs have no shuffled ones to compare with: give at least four")
        groups = min(n_pairs, MOST_LEFT_OUT)
        return cls(
            blocks=_blocks(n_pairs, generator),
            partners=torch.stack([random_cycle(n_pairs, generator) for _ in range(shuffles)]),
            left_out=torch.randperm(n_pairs, generator=generator) % groups == torch.arange(groups)[:, None],
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
    n_pairs: int
    """Number of word pairs."""
    quantiles: Float[Tensor, " percentile"]
    """The loss at each percentile from 0 to 100, over pairs of pairs."""
    shuffled_quantiles: Float[Tensor, " percentile"]
    """The loss at each percentile in a shuffle, averaged over shuffles."""
    shuffled_means: Float[Tensor, " shuffle"]
    """Mean loss of each shuffle."""
    without: Float[Tensor, " group"]
    """Mean loss without each group of pairs that is left out."""
    shuffled_without: Float[Tensor, " group"]
    """Mean loss of some of the shuffles without the same groups."""

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
    def loss_estimate(self) -> Estimate:
        """The loss with its 95 % interval over word pairs."""
        return jackknife(self.loss, self.without, unit=UNIT)

    @property
    def gap_estimate(self) -> Estimate:
        """The gap with its 95 % interval over word pairs."""
        return jackknife(self.gap, self.shuffled_without - self.without, unit=UNIT)

    @property
    def ratio_estimate(self) -> Estimate:
        """The ratio with its 95 % interval over word pairs."""
        return jackknife(self.ratio, self.without / self.shuffled_without, unit=UNIT)

    def gap_beyond(self, other: "ParallelogramLoss") -> Estimate:
        """How much wider the gap is than another model's, from the same draws, with its paired 95 % interval."""
        own, others = (each.shuffled_without - each.without for each in (self, other))
        return jackknife(self.gap - other.gap, own - others, unit=UNIT)

    @property
    def p_value(self) -> float:
        """Share of shuffles, the true pairing among them, whose mean loss is not above the true one."""
        return float((self.shuffled_means <= self.loss).sum() + 1) / (len(self.shuffled_means) + 1)


def parallelogram_loss(
    first: Float[Tensor, "pair dims"],
    second: Float[Tensor, "pair dims"],
    draws: PairDraws,
    measure: Measure = relative_losses,
    *,
    refitted: Float[Tensor, "group pair 2 dims"] | None = None,
) -> ParallelogramLoss:
    """Return the loss of the pairs (first[i], second[i]), coordinates of centred words, on the given draws.

    Two shuffled pairs are compared where their four words come from four pairs: a pair's own two words, alike, would
    add up in a − b − c + d. `refitted` are the coordinates of all words along components that were fitted without each
    group of `draws.left_out`; without them intervals take the components as given.
    """
    assert len(first) == draws.left_out.shape[1], f"{len(first)} pairs, draws for {draws.left_out.shape[1]}"
    first, second = first.cpu().double(), second.cpu().double()  # on the CPU, as the draws are
    losses = measure(first[draws.blocks], second[draws.blocks])
    values = losses[_apart(draws.blocks).triu()]
    means, quantiles = _shuffled(first, second, draws, measure)
    refits = torch.stack([first, second], dim=1).expand(len(draws.left_out), -1, -1, -1)
    without = _without(refits if refitted is None else refitted.cpu().double(), draws, measure)
    return ParallelogramLoss(
        loss=float(values.mean()),
        shuffled=float(means.mean()),
        n=len(values),
        n_pairs=len(first),
        quantiles=values.quantile(PERCENTILES),
        shuffled_quantiles=quantiles,
        shuffled_means=means,
        without=without[:, 0],
        shuffled_without=without[:, 1],
    )


def _blocks(n_pairs: int, generator: torch.Generator) -> Tensor:
    n_blocks = -(-n_pairs * (n_pairs - 1) // (2 * MOST_QUADRUPLES))
    size = n_pairs // n_blocks
    order = torch.randperm(n_pairs, generator=generator) if n_blocks > 1 else torch.arange(n_pairs)
    return order[: n_blocks * size].view(n_blocks, size)


def _shuffled(
    first: Float[Tensor, "pair dims"], second: Float[Tensor, "pair dims"], draws: PairDraws, measure: Measure
) -> tuple[Float[Tensor, " shuffle"], Float[Tensor, " percentile"]]:
    """Mean of each shuffle, and quantiles of a shuffle on average."""
    n_blocks, size = draws.blocks.shape
    means: list[Tensor] = []
    quantiles: list[Tensor] = []
    together = max(1, LOSSES_AT_ONCE // (n_blocks * size**2))
    for partners in track(draws.partners.split(together), "shuffles", "shuffles", total=len(draws.partners), size=len):
        own, given = draws.blocks.repeat(len(partners), 1), partners[:, draws.blocks].flatten(0, 1)
        losses, counted = measure(first[own], second[given]), _of_four_pairs(own, given)
        by_shuffle = zip(*(part.view(len(partners), -1) for part in (losses, counted.triu())), strict=True)
        values = [of_shuffle[kept] for of_shuffle, kept in by_shuffle]
        means += [each.mean() for each in values]
        quantiles += [each.quantile(PERCENTILES) for each in values]
    return torch.stack(means), torch.stack(quantiles).mean(dim=0)


def _without(
    refits: Float[Tensor, "group pair 2 dims"], draws: PairDraws, measure: Measure
) -> Float[Tensor, "group 2"]:
    """Mean loss, and mean loss of some shuffles, without each group of pairs."""
    partners = draws.partners[:SHUFFLES_WITHOUT]
    paired = draws.blocks, draws.blocks, _apart(draws.blocks)
    own, given = draws.blocks.repeat(len(partners), 1), partners[:, draws.blocks].flatten(0, 1)
    shuffled = own, given, _of_four_pairs(own, given)
    means = []
    for words, left_out in zip(refits, draws.left_out, strict=True):
        # Words at zero add the same to the scale of `scaled_losses` whichever they are.
        words, kept = words.masked_fill(left_out[:, None, None], 0), ~left_out
        for own, given, counted in (paired, shuffled):
            both = kept[own] & kept[given]
            met = counted & both[:, :, None] & both[:, None, :]
            means.append(measure(words[own, 0], words[given, 1])[met].mean())
    return torch.stack(means).view(-1, 2)


def _apart(blocks: Int[Tensor, "block pair"]) -> Bool[Tensor, "block pair pair"]:
    return ~torch.eye(blocks.shape[1], dtype=torch.bool).expand(len(blocks), -1, -1)


def _of_four_pairs(own: Int[Tensor, "block pair"], given: Int[Tensor, "block pair"]) -> Bool[Tensor, "block pair pair"]:
    """Whether two shuffled pairs differ, and neither got its second word from the other."""
    met = (given[:, :, None] == own[:, None, :]) | torch.eye(own.shape[1], dtype=torch.bool)
    return ~(met | met.transpose(1, 2))
