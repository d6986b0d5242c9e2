"""What both kinds of probe find, label by label; `results.json` holds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    beyond_token: Estimate
    """The logistic probe's accuracy less what the token alone gives, paired by token."""
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
    """By `harmonic`, `means` and `logistic`: root mean square distance of a centre, or direction, to its mean over
    draws, over that of these means to their common centre; below 1, draws agree."""
    cosine_with_means: Estimate
    """Of differences of two harmonic centres with those of the class means, over draws."""
    cosine_with_logistic: Estimate
    """Of differences of two harmonic centres with those of the logistic probe's directions, over draws."""


@dataclass(frozen=True, kw_only=True)
class ShapeAgreement:
    """Whether two models' centres have one shape, wherever and however turned they lie: each number beside its null."""

    procrustes: Estimate
    """Share of the variance of one model's centres that the other's explain once they are turned, moved and scaled;
    over draws, each model's centres being of other documents."""
    procrustes_permuted: float
    """The same on average when classes are permuted: with few classes and many dimensions it is high too."""
    procrustes_p: float
    """Share of the permutations of classes, the true one among them, with as high an agreement."""
    procrustes_between_draws: float
    """The same of one model's centres of two draws, averaged over models: as high as documents allow."""
    distances: Estimate
    """Correlation of the distances between every two centres in both models, over draws."""
    distances_p: float
    """Share of the permutations with as high a correlation."""
    permutations: int


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Whether two models place the same classes alike."""

    cosine: Estimate
    """Of the differences of every two centres in one model with those in the other, as they are; over draws, each
    model's centres being of other documents. Random directions give 0."""
    cosine_between_draws: float
    """The same of one model's centres of two draws, averaged over models: as high as documents allow."""
    shape: ShapeAgreement | None
    """None for two classes: two points have no shape."""


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
    between_models: Mapping[int, Estimate]
    """By layer, the logistic probe's accuracy in the second model less that in the first one, paired by token."""
    shuffled: Mapping[str, Compared]
    """By model at the shown layer: fitted to the labels of other documents, tested on the true ones: chance where
    nothing leaks."""
    data: Mapping[str, DataNeeded]
    """By model at the shown layer."""
    centres: Mapping[str, CentresFound]
    """By model at the shown layer."""
    agreement: Agreement
    """Of the first two models' centres at the shown layer."""

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

    @property
    def differences(self) -> list[Estimate]:
        """Harmonic less logistic of every label, layer and model that has an interval; where all activations are alike
        there is none."""
        every = [
            compared.difference
            for label in self.labels.values()
            for by_model in label.layers.values()
            for compared in by_model.values()
        ]
        return [each for each in every if each.low is not None]

    @property
    def better(self) -> int:
        """In how many of the differences the whole interval is above 0."""
        return sum(each.low is not None and each.low > 0 for each in self.differences)

    @property
    def worse(self) -> int:
        """In how many of the differences the whole interval is below 0."""
        return sum(each.high is not None and each.high < 0 for each in self.differences)


def probe_results(found: ProbesFound) -> dict[str, Any]:
    """Every number; `probes` holds the accuracies by label, layer and model."""
    return {
        "probes": {
            name: {
                str(layer): {model: vars(each) for model, each in by_model.items()}
                for layer, by_model in label.layers.items()
            }
            for name, label in found.labels.items()
        },
        "labels": {name: _label_results(label) for name, label in found.labels.items()},
        "left_out": dict(found.left_out),
        "words": {
            name: {
                model: {
                    "loss": loss.loss_estimate,
                    "ratio": loss.ratio_estimate,
                    "n_quadruples": loss.n,
                    "p": loss.p_value,
                }
                for model, loss in by_model.items()
            }
            for name, by_model in found.words.items()
        },
        "layer": found.layer,
        "draws": found.draws,
    }


def _label_results(found: LabelFound) -> dict[str, Any]:
    plain = ("classes", "left_out", "documents", "of_documents", "matched", "token_alone", "chance")
    return {name: getattr(found, name) for name in plain} | {
        "between_models": {str(layer): each for layer, each in found.between_models.items()},
        "shuffled": {model: vars(each) for model, each in found.shuffled.items()},
        "data": {
            model: {
                "by_tokens": {str(n): vars(each) for n, each in data.by_tokens.items()},
                "target": data.target,
                "reached": data.reached,
            }
            for model, data in found.data.items()
        },
        "centres": {model: _centre_results(centres) for model, centres in found.centres.items()},
        "agreement": vars(found.agreement) | {"shape": found.agreement.shape and vars(found.agreement.shape)},
    }


def _centre_results(found: CentresFound) -> dict[str, Any]:
    distances = {" – ".join(pair): distance for pair, distance in found.distances.items()}
    return vars(found) | {"distances": distances}
