"""Logistic against harmonic probes on equal terms: the same tokens, the same choice of penalty, the same tests."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.experiments.harmonic_probes.reading import FrozenStreams
from toolkit.experiments.harmonic_probes.results import Compared, DataNeeded
from toolkit.experiments.harmonic_probes.sampling import shuffled_by_document, token_alone
from toolkit.probes.fitting import (
    FEWEST_EXAMPLES,
    HarmonicProbe,
    LogisticProbe,
    Probe,
    fit_harmonic,
    fit_logistic,
)
from toolkit.statistics.balanced_accuracy import balanced_over_seeds
from toolkit.statistics.estimates import Estimate

KINDS = ("logistic", "harmonic")
TARGET = 0.9
"""Share of the way from chance to what the logistic probe reaches with the most tokens."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """Both probes, fitted on the same tokens."""

    logistic: LogisticProbe
    harmonic: HarmonicProbe

    def of(self, kind: str) -> Probe:
        """The probe of a kind in `KINDS`."""
        return self.logistic if kind == "logistic" else self.harmonic


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One label at one layer of one model: what is fitted, on what, and what tests it."""

    streams: FrozenStreams
    x: Float[Tensor, "token d_model"]
    exponent: float | None
    """Of the harmonic loss; None for the default."""

    @classmethod
    def of(cls, streams: FrozenStreams, model: str, layer: int, exponent: float | None) -> "Task":
        """The task of a label's streams."""
        return cls(streams=streams, x=streams.at(model, layer), exponent=exponent)

    @property
    def tells_nothing(self) -> bool:
        """Whether all activations of a draw are alike but for fewer than 10, as the embeddings of one token id are: no
        probe can be fitted."""
        counts = [self.x[fits].unique(dim=0, return_counts=True)[1] for fits in self.streams.fits]
        return any(int(each.sum() - each.max()) < FEWEST_EXAMPLES for each in counts)

    def fitted(
        self, draw: int, chosen: Tensor, label: Int[Tensor, " token"] | None = None, like: Fitted | None = None
    ) -> Fitted:
        """Fit both probes on chosen tokens, a mask or indices.

        `label` stands for the true one. The settings are those of the probes in `like`, or chosen on some of the
        documents.
        """
        places = self.streams.places
        label = places.label if label is None else label
        given = (self.x[chosen], label[chosen], places.document[chosen])
        logistic, harmonic = (like.logistic, like.harmonic) if like else (None, None)
        return Fitted(
            logistic=fit_logistic(*given, classes=places.classes, seed=draw, like=logistic),
            harmonic=fit_harmonic(*given, classes=places.classes, exponent=self.exponent, seed=draw, like=harmonic),
        )

    def each_draw(self, chosen: Sequence[Tensor] | None = None) -> tuple[Fitted, ...]:
        """The probes of every draw, on all of its fitting tokens or on those chosen; the first draw's documents choose
        the settings of all."""
        first, *others = self.streams.fits if chosen is None else chosen
        own = self.fitted(0, first)
        return (own, *(self.fitted(draw, each, like=own) for draw, each in enumerate(others, 1)))

    def tested(self, probes: Sequence[Fitted]) -> "Tested":
        """Test the probes of every draw on the documents that test."""
        tests, places = self.streams.tests, self.streams.places
        x, truth = self.x[tests], places.label[tests]
        right = {
            kind: torch.stack([each.of(kind).log_probabilities(x).argmax(dim=1) == truth for each in probes]).double()
            for kind in KINDS
        }
        return Tested(streams=self.streams, right=right)

    def compared(self, probes: Sequence[Fitted]) -> Compared:
        """Both kinds of probe side by side."""
        return self.tested(probes).compared()

    def on_shuffled_labels(self, probes: Sequence[Fitted], generator: torch.Generator) -> Compared:
        """The same after fitting, with the settings of true probes, to labels that documents took over from others:
        chance, unless something leaks."""
        places, shuffled = self.streams.places, []
        for draw, (fits, like) in enumerate(zip(self.streams.fits, probes, strict=True)):
            label = places.label.clone()
            label[fits] = shuffled_by_document(places.label[fits], places.document[fits], generator)
            shuffled.append(self.fitted(draw, fits, label, like))
        return self.compared(shuffled)

    def with_fewer(self, most: Compared, generator: torch.Generator) -> DataNeeded:
        """Accuracy with fewer and fewer tokens, of each class as many; `most` is what all tokens of a draw give."""
        label, n_classes = self.streams.places.label, len(self.streams.places.classes)
        drawn = [_shuffled_classes(label, fits, n_classes, generator) for fits in self.streams.fits]
        fewest = min(len(of_class) for of_draw in drawn for of_class in of_draw)
        by_tokens = {
            n * n_classes: self.compared(
                self.each_draw([torch.cat([each[:n] for each in of_draw]) for of_draw in drawn])
            )
            for n in _numbers(fewest)
        }
        target = 1 / n_classes + TARGET * (most.logistic.value - 1 / n_classes)
        curves = {kind: {n: getattr(each, kind).value for n, each in by_tokens.items()} for kind in KINDS}
        return DataNeeded(
            by_tokens=by_tokens, target=target, reached={kind: reached(curve, target) for kind, curve in curves.items()}
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Tested:
    """Where the probes of one label at one layer of one model are right."""

    streams: FrozenStreams
    right: Mapping[str, Float[Tensor, "draw tested"]]
    """By kind, 1 or 0 for each tested token."""

    def compared(self) -> Compared:
        """Accuracies, and differences on the same tokens."""
        logistic, harmonic = self.right["logistic"], self.right["harmonic"]
        return Compared(
            logistic=accuracy(logistic, self.streams),
            harmonic=accuracy(harmonic, self.streams),
            difference=difference(harmonic - logistic, self.streams),
            beyond_token=difference(logistic - by_token_alone(self.streams), self.streams),
            n=logistic.shape[1],
        )


def guessed(streams: FrozenStreams) -> Tested:
    """What any probe reaches where all activations are alike: it says one class of all tokens."""
    right = (streams.places.label[streams.tests] == 0).double().expand(len(streams.fits), -1)
    return Tested(streams=streams, right=dict.fromkeys(KINDS, right))


def accuracy(right: Float[Tensor, "draw tested"], streams: FrozenStreams) -> Estimate:
    """Return the balanced accuracy on the documents that test."""
    return _balanced(right, streams).within(0.0, 1.0)


def difference(scores: Float[Tensor, "draw tested"], streams: FrozenStreams) -> Estimate:
    """Return the difference of two balanced accuracies, of the differences token by token."""
    return _balanced(scores, streams).within(-1.0, 1.0)


def _balanced(scores: Float[Tensor, "draw tested"], streams: FrozenStreams) -> Estimate:
    tests = streams.tests
    return balanced_over_seeds(scores, streams.places.label[tests], streams.places.document[tests])


def by_token_alone(streams: FrozenStreams) -> Float[Tensor, "draw tested"]:
    """How right the class is that a token's id has most often among fitting tokens; of an id that stands not among them
    the class is guessed."""
    tests, places, right = streams.tests, streams.places, []
    for fits in streams.fits:
        said, known = token_alone(places, fits, tests)
        right.append(torch.where(known, (said == places.label[tests]).double(), 1 / len(places.classes)))
    return torch.stack(right)


def reached(curve: Mapping[int, float], target: float) -> float | None:
    """Return the number of tokens at which a curve first reaches the target, between its points by the logarithm; None
    where it never does."""
    before: tuple[int, float] | None = None
    for n, value in curve.items():
        if value >= target:
            if before is None:
                return float(n)
            share = (target - before[1]) / (value - before[1])
            return math.exp(math.log(before[0]) + share * math.log(n / before[0]))
        before = n, value
    return None


def _numbers(fewest: int) -> list[int]:
    """Tokens of each class: 10, doubled as often as there are enough, and all of them."""
    doubled = [FEWEST_EXAMPLES * 2**i for i in range(fewest.bit_length()) if FEWEST_EXAMPLES * 2**i < fewest]
    return [*doubled, fewest]


def _shuffled_classes(
    label: Int[Tensor, " token"], fits: Bool[Tensor, " token"], n_classes: int, generator: torch.Generator
) -> list[Int[Tensor, " of_class"]]:
    """The fitting tokens of each class, in random order."""
    tokens = fits.nonzero().squeeze(1)
    tokens = tokens[torch.randperm(len(tokens), generator=generator)]
    return [tokens[label[tokens] == number] for number in range(n_classes)]
