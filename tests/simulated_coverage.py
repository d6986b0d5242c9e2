"""How often each kind of interval contains the truth, by simulation: `python tests/simulated_coverage.py` prints it.

Samples are as recipes have them: few documents of unequal length, effects that are skewed or alike within a document.
The truth is known, or is the mean over as many further samples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import exp, log

import torch
from torch import Tensor

from toolkit.geometry.components import Components, refitted_coordinates
from toolkit.geometry.parallelogram import PairDraws, ParallelogramLoss, parallelogram_loss
from toolkit.statistics.auroc import Spread, auroc_difference, auroc_estimate, auroc_over_seeds
from toolkit.statistics.balanced_accuracy import balanced_accuracy, balanced_over_seeds
from toolkit.statistics.estimates import (
    Estimate,
    jackknife,
    jackknife_over_seeds,
    mean,
    over_seeds,
    ratio_of_sums,
    ratio_over_seeds,
)
from toolkit.statistics.medians import median
from toolkit.statistics.shares import difference_of_shares, share, wilson

Sample = Callable[[torch.Generator], Estimate]
"""Draws one sample, and returns its estimate."""


@dataclass(frozen=True)
class Kind:
    """One kind of interval at one size."""

    name: str
    n: str
    sample: Sample
    truth: float | None = None
    """None where it is the mean over further samples."""
    cost: int = 1
    """How many times as long as a mean it takes: so many times fewer samples are drawn."""


def coverage(kind: Kind, samples: int, seed: int = 0) -> float:
    """Return the share of intervals that contain the truth; samples without interval do not count."""
    generator = torch.Generator().manual_seed(seed)
    samples = max(40, samples // kind.cost)
    truth = kind.truth
    if truth is None:
        truth = float(torch.tensor([kind.sample(generator).value for _ in range(samples)]).mean())
    drawn = [kind.sample(generator) for _ in range(samples)]
    intervals = [(each.low, each.high) for each in drawn if each.low is not None and each.high is not None]
    assert len(intervals) > samples / 2, f"{kind.name}: most samples have no interval"
    return sum(low <= truth <= high for low, high in intervals) / len(intervals)


def kinds() -> Iterator[Kind]:
    """Every kind of interval that the project prints."""
    for n in (8, 15, 60):
        for skewed in (False, True):
            name = "mean by document, " + ("skewed" if skewed else "normal")
            yield Kind(name, f"{n} documents", partial(of_mean, n=n, skewed=skewed), 1.0)
        yield Kind("paired difference by document", f"{n} documents", partial(of_difference, n=n), 0.3)
        yield Kind("ratio of sums, skewed", f"{n} documents", partial(of_ratio, n=n), exp(0.32))
        yield Kind("ratio of sums, 99 %", f"{n} documents", partial(of_ratio, n=n, level=0.99), exp(0.32))
        yield Kind("ratio of two sums, left out in turn", f"{n} documents", partial(of_recovered, n=n))
        yield Kind("median by document, skewed", f"{n} documents", partial(of_median, n=n), 1.0)
        yield Kind("share by document, .9", f"{n} documents", partial(of_share, n=n), 0.9)
    for n in (15, 60):
        for seeds in (3, 5):
            yield Kind("mean over seeds", f"{seeds} seeds, {n} documents", partial(of_seeds, seeds=seeds, n=n), 1.0)
        of_fits = partial(of_ratio_over_seeds, n=n), partial(of_kinds_apart, n=n)
        for name, sample in zip(("ratio of sums", "difference of ratios, left out in turn"), of_fits, strict=True):
            yield Kind(f"{name}, over seeds", f"3 seeds, {n} documents", sample)
        for shift, level in ((0.5, "low"), (2.5, "high")):
            yield Kind(f"AUROC, {level}", f"{n} documents", partial(of_auroc, n=n, shift=shift), cost=4)
        yield Kind("difference of AUROCs", f"{n} documents", partial(of_aurocs, n=n), cost=6)
    yield Kind("AUROC, spread of seeds pooled", "3 seeds, 5 labels, 60 documents", of_auroc_over_seeds, cost=12)
    for n, p in ((10, 0.5), (20, 0.9), (96, 0.99)):
        yield Kind(f"share of trials, {p}", f"{n} trials", partial(of_trials, n=n, p=p), p)
    for n, p, q in ((20, 0.5, 0.1), (40, 0.1, 0.1), (100, 0.08, 0.02)):
        yield Kind(f"difference of shares, {p} and {q}", f"{n} trials each", partial(of_two, n=n, p=p, q=q), p - q)
    for p in (0.6, 0.95):
        yield Kind(f"balanced accuracy, {p}", "60 documents", partial(of_balanced_accuracy, p=p))
    for n in (15, 60):
        yield Kind("balanced accuracy of 4 classes", f"3 seeds, {n} documents", partial(of_classes, n=n))
    for n in (8, 10, 24):
        for name in ("loss_estimate", "gap_estimate"):
            shown = name.removesuffix("_estimate")
            yield Kind(f"parallelogram {shown}", f"{n} word pairs", partial(of_pairs, n=n, name=name), cost=10)


def documents(n: int, generator: torch.Generator) -> Tensor:
    """Sizes of documents, the largest of eight about five times the smallest."""
    return torch.randn(n, generator=generator).mul(0.6).add(3).exp().round().clamp(min=3).long()


def of_mean(generator: torch.Generator, *, n: int, skewed: bool) -> Estimate:
    """Positions whose documents' means are normal, or exponential."""
    sizes = documents(n, generator)
    levels = torch.rand(n, generator=generator).log().neg() if skewed else 1 + torch.randn(n, generator=generator)
    groups = torch.arange(n).repeat_interleave(sizes)
    return mean(levels[groups] + torch.randn(len(groups), generator=generator), groups)


def of_difference(generator: torch.Generator, *, n: int) -> Estimate:
    """Two arms at the same positions, each alike within its document."""
    groups = torch.arange(n).repeat_interleave(documents(n, generator))
    own = torch.randn(len(groups), generator=generator)
    one, other = (own + 0.5 * torch.randn(n, generator=generator)[groups] for _ in range(2))
    return mean(one + 0.3 - other, groups)


def of_seeds(generator: torch.Generator, *, seeds: int, n: int) -> Estimate:
    """Seeds differ as documents do, and each in its own way at each position."""
    groups = torch.arange(n).repeat_interleave(documents(n, generator))
    by_seed, by_document = 0.5 * torch.randn(seeds, 1, generator=generator), torch.randn(n, generator=generator)
    return over_seeds(1 + by_seed + by_document[groups] + torch.randn(seeds, len(groups), generator=generator), groups)


def _sums_of_fits(generator: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
    """KL of two kinds of predictions with three fits of a map, [fit, document, kind], and how many predictions."""
    sizes = torch.stack([documents(n, generator), documents(n, generator).div(5).ceil().long()], dim=1).double()
    by_document = torch.randn(n, 2, generator=generator).mul(0.5).exp()
    by_fit = 1 + 0.1 * torch.randn(3, 1, 2, generator=generator)
    return sizes * by_document * by_fit, sizes


def of_ratio_over_seeds(generator: torch.Generator, *, n: int) -> Estimate:
    """What a map costs a prediction, where its fits differ too."""
    sums, sizes = _sums_of_fits(generator, n)
    return ratio_over_seeds(sums[..., 0], sizes[:, 0])


def of_kinds_apart(generator: torch.Generator, *, n: int) -> Estimate:
    """How much more one kind of predictions costs than another."""
    sums, sizes = _sums_of_fits(generator, n)
    whole, without = (
        (total[..., 0] / count[..., 0]) - (total[..., 1] / count[..., 1])
        for total, count in (
            (sums.sum(dim=1), sizes.sum(dim=0)),
            (sums.sum(dim=1, keepdim=True) - sums, sizes.sum(dim=0) - sizes),
        )
    )
    return jackknife_over_seeds(whole, without)


def of_ratio(generator: torch.Generator, *, n: int, level: float = 0.95) -> Estimate:
    """Sums over documents, such as KL, of which a few are far larger a token: log-normal."""
    sizes = documents(n, generator).double()
    return ratio_of_sums(sizes * torch.randn(n, generator=generator).mul(0.8).exp(), sizes, level=level)


def of_median(generator: torch.Generator, *, n: int) -> Estimate:
    """Lengths, log-normal, that are alike within a document."""
    groups = torch.arange(n).repeat_interleave(documents(n, generator).div(5).ceil().long())
    levels = torch.randn(n, generator=generator).mul(0.5)
    return median((levels[groups] + torch.randn(len(groups), generator=generator).mul(0.5)).exp(), groups)


def of_recovered(generator: torch.Generator, *, n: int) -> Estimate:
    """The part of one sum that another makes up, both skewed: loss recovered."""
    whole = documents(n, generator) * torch.randn(n, generator=generator).mul(0.5).exp()
    part = whole * (0.8 + 0.1 * torch.randn(n, generator=generator))
    return jackknife(float(part.sum() / whole.sum()), (part.sum() - part) / (whole.sum() - whole))


def of_share(generator: torch.Generator, *, n: int) -> Estimate:
    """Trials of documents that differ: a beta distribution, correlation .2 within a document."""
    groups = torch.arange(n).repeat_interleave(documents(n, generator))
    beta = torch.distributions.Beta(torch.tensor(3.6), torch.tensor(0.4))
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        levels = beta.sample((n,))
    return share((torch.rand(len(groups), generator=generator) < levels[groups]).float(), groups)


def of_trials(generator: torch.Generator, *, n: int, p: float) -> Estimate:
    """Trials that are independent."""
    return wilson(int((torch.rand(n, generator=generator) < p).sum()), n)


def of_two(generator: torch.Generator, *, n: int, p: float, q: float) -> Estimate:
    """Two kinds of trials that are independent of each other."""
    first, second = (int((torch.rand(n, generator=generator) < each).sum()) for each in (p, q))
    return difference_of_shares((first, n), (second, n))


def of_balanced_accuracy(generator: torch.Generator, *, p: float) -> Estimate:
    """50 positives and 50 negatives of 60 documents, some of which are harder than others."""
    truth, groups = torch.arange(100) < 50, torch.randint(0, 60, (100,), generator=generator)
    level = log(p / (1 - p)) + torch.randn(60, generator=generator)
    right = torch.rand(100, generator=generator) < level.sigmoid()[groups]
    return balanced_accuracy(truth == right, truth, groups)


def of_classes(generator: torch.Generator, *, n: int) -> Estimate:
    """Four classes of unequal size and difficulty, told by three seeds that are not equally good."""
    sizes = 4 * documents(n, generator)
    groups = torch.arange(n).repeat_interleave(sizes)
    truth = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])[torch.randint(0, 8, (len(groups),), generator=generator)]
    level = 1.0 + 0.5 * truth + 0.7 * torch.randn(n, generator=generator)[groups]
    by_seed = 0.2 * torch.randn(3, 1, generator=generator)
    right = torch.rand(3, len(groups), generator=generator) < (level + by_seed).sigmoid()
    return balanced_over_seeds(right.double(), truth, groups)


def _tokens(generator: torch.Generator, n: int, shift: float) -> tuple[Tensor, Tensor, Tensor]:
    sizes = 2 * documents(n, generator)
    groups = torch.arange(n).repeat_interleave(sizes)
    labels = torch.rand(len(groups), generator=generator) < (0.05 + 0.2 * torch.rand(n, generator=generator))[groups]
    by_document = 0.7 * torch.randn(2, n, generator=generator)[:, groups]
    scores = torch.randn(len(groups), generator=generator) + by_document[0] + labels * (shift + by_document[1])
    return torch.relu(scores - 0.5), labels, groups


def of_auroc(generator: torch.Generator, *, n: int, shift: float) -> Estimate:
    """A score that is often silent, and whose level differs by document."""
    return auroc_estimate(*_tokens(generator, n, shift))


def of_aurocs(generator: torch.Generator, *, n: int) -> Estimate:
    """A score and the same with noise."""
    scores, labels, groups = _tokens(generator, n, 2.0)
    return auroc_difference(scores, scores + 0.8 * torch.randn(len(scores), generator=generator), labels, groups)


def of_auroc_over_seeds(generator: torch.Generator) -> Estimate:
    """Three dictionaries that find each of five labels more or less well, at random; how they differ is pooled."""
    _, labels, groups = _tokens(generator, 60, 1.0)
    shifts = 1.0 + 0.3 * torch.randn(5, 3, 1, generator=generator)
    scores = shifts * labels + torch.randn(5, 3, len(labels), generator=generator)
    values = [torch.tensor([auroc_estimate(row, labels, groups).value for row in rows]) for rows in scores]
    return auroc_over_seeds(scores[0], labels, groups, spread=Spread.pooled(values))


def of_pairs(generator: torch.Generator, *, n: int, name: str) -> Estimate:
    """Words that share a step but for noise, in as many components as the experiment shows."""
    scale = torch.linspace(2, 0.2, 24)
    first = torch.randn(n, 24, generator=generator) * scale
    words = torch.stack([first, first + 0.6 + 0.7 * scale * torch.randn(n, 24, generator=generator)], dim=1).flatten(
        0, 1
    )
    draws = PairDraws.draw(n, generator, shuffles=20)
    coordinates = Components.fit(words).project(words, 10)
    refitted = refitted_coordinates(words, draws.left_out.repeat_interleave(2, dim=1), 10).unflatten(1, (-1, 2))
    loss: ParallelogramLoss = parallelogram_loss(coordinates[::2], coordinates[1::2], draws, refitted=refitted)
    found: Estimate = getattr(loss, name)
    return found


def main() -> None:
    """Print the table of the documentation."""
    print("| kind | n | coverage |\n|---|---|---|")
    for kind in kinds():
        print(f"| {kind.name} | {kind.n} | {coverage(kind, 1500):.3f} |", flush=True)


if __name__ == "__main__":
    main()
