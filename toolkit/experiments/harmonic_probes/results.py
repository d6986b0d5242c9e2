"""What both kinds of probe find, label by label; `results.json` holds it."""

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.geometry.parallelogram import ParallelogramLoss
from toolkit.statistics.estimates import Estimate


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Both probes of one label at one layer of one model, on documents that neither was fitted on.

    Accuracies are balanced: the mean over classes of the share that is told rightly. Intervals contain how documents
    and draws of fitting documents vary.
    """

    logistic: Estimate
    harmonic: Estimate
    difference: Estimate
    """Harmonic less logistic, paired by token."""
    n: int
    """Tokens that test."""


@dataclass(frozen=True, kw_only=True)
class DataNeeded:
    """Accuracy against the number of fitting tokens, at one layer of one model."""

    by_tokens: Mapping[int, Compared]
    target: float
    """Nine tenths of the way from chance to what the logistic probe reaches with the most tokens."""
    reached: Mapping[str, float | None]
    """By probe, the number of tokens at which the mean curve reaches the target; None where it never does."""


@dataclass(frozen=True, kw_only=True)
class CentresFound:
    """The centres of one label's classes in one model, as points."""

    distances: Mapping[tuple[str, str], float]
    """Distance of every two centres over the spread of a class's tokens about their mean (root mean square),
    averaged over draws."""
    spread_over_draws: Mapping[str, float]
    """By kind of centre, `harmonic` and `means`: root mean square distance of a centre to its mean over draws, over
    the root mean square distance of centres to their common mean; below 1, draws agree."""
    cosine_with_means: Estimate
    """Of differences of two harmonic centres with those of the class means, over draws."""
    cosine_with_logistic: Estimate
    """Of differences of two harmonic centres with those of the logistic probe's directions, over draws."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Whether two models place the same classes alike: each number beside its null."""

    procrustes: Estimate
    """1 − residual share when one model's centres are turned, moved and scaled onto the other's, over draws."""
    procrustes_permuted: float
    """The same on average when classes are permuted: with few classes and many dimensions it is high too."""
    distances: Estimate
    """Correlation of the distances between every two centres in both models, over draws."""
    distances_p: float
    """Share of the permutations of classes, the true one among them, with as high a correlation."""
    permutations: int


@dataclass(frozen=True, kw_only=True)
class LabelFound:
    """One label: what of it can be read where."""

    classes: Mapping[str, int]
    """Tokens of each class, all of them read."""
    left_out: Mapping[str, str]
    """Why a class was not measured, by name."""
    documents: int
    of_documents: bool
    """Whether all tokens of a document share a class."""
    matched: bool
    """Whether both classes have each token as often, so that the token alone tells nothing."""
    token_alone: Estimate
    """Balanced accuracy of the class that a token's id has most often among fitting tokens: what needs no model."""
    layers: Mapping[int, Mapping[str, Compared]]
    """By layer, by model."""
    shuffled: Mapping[str, Compared]
    """By model at the shown layer: fitted to the labels of other documents, tested on the true ones: chance where
    nothing leaks."""
    data: Mapping[str, DataNeeded]
    """By model at the shown layer."""
    centres: Mapping[str, CentresFound]
    """By model at the shown layer."""
    agreement: Agreement | None
    """Of the first two models' centres at the shown layer; None for two classes, whose centres are one distance."""

    @property
    def chance(self) -> float:
        """Balanced accuracy of guesses."""
        return 1 / len(self.classes)


@dataclass(frozen=True, kw_only=True)
class ProbesFound:
    """All labels, and the geometry of input embeddings."""

    labels: Mapping[str, LabelFound]
    left_out: Mapping[str, str]
    """Why a label was not measured, by name."""
    words: Mapping[str, Mapping[str, ParallelogramLoss]]
    """By class of word pairs, by model: the harmonic-loss paper's parallelogram loss of input embeddings."""
    layer: int
    """The layer whose centres, data and controls are shown: that of the site, fixed beforehand."""
    models: tuple[str, ...]
    draws: int
    """Draws of fitting documents, which share none."""
