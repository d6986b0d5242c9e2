"""Chooses the places that probes learn from and are tested on, so that nothing but the streams tells the class."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from toolkit.experiments.harmonic_probes.labels import LabelledPlaces
from toolkit.leaving_out import TooFewError
from toolkit.probes.fitting import FEWEST_EXAMPLES
from toolkit.statistics.estimates import FEWEST_GROUPS

DOCUMENTS_OR_DRAWS = "more --documents or fewer --draws"


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Which documents test, and which each draw fits probes on; no two draws share a document."""

    part: Int[Tensor, " document"]
    """0 for those that test, else one more than the number of the draw."""
    draws: int

    @classmethod
    def random(cls, n_documents: int, draws: int, generator: torch.Generator) -> "Split":
        """Parts of even size; raises `ValueError` where a part has too few documents for an interval."""
        parts = draws + 1
        if n_documents < FEWEST_GROUPS * parts:
            raise ValueError(
                f"{n_documents} labelled documents: {draws} draws fit probes on documents of their own and others test"
                f" them, {FEWEST_GROUPS} each: give {FEWEST_GROUPS * parts} or more"
            )
        return cls(part=torch.randperm(n_documents, generator=generator) % parts, draws=draws)

    def tests(self, places: LabelledPlaces) -> Bool[Tensor, " token"]:
        """The places in documents that test."""
        return self.part[places.document] == 0

    def fits(self, places: LabelledPlaces) -> tuple[Bool[Tensor, " token"], ...]:
        """Of each draw the places in documents that fit."""
        return tuple(self.part[places.document] == draw + 1 for draw in range(self.draws))

    def fewest(self, places: LabelledPlaces) -> list[int]:
        """Places of each class in the part that has the fewest of it."""
        cell = self.part[places.document] * len(places.classes) + places.label
        counts = cell.bincount(minlength=(self.draws + 1) * len(places.classes))
        least: list[int] = counts.view(self.draws + 1, -1).amin(dim=0).tolist()
        return least


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The places of one label that are read."""

    places: LabelledPlaces
    matched: bool
    """Whether in each part of the documents every token id stands as often in one class as in the other, so that the
    token alone tells nothing."""
    left_out: Mapping[str, str]
    """Why a class is not among them, by name."""


def sampled(name: str, given: LabelledPlaces, split: Split, tokens: int, generator: torch.Generator) -> Sample:
    """Draw at most `tokens` places of each class in a part of the documents, on average over parts.

    Of two classes, places are drawn in pairs with the same token id in the same part of the documents. A class with
    fewer than 10 places in any part is left out. Raises `TooFewError` where fewer than two classes are left.
    """
    fewest, counts = split.fewest(given), given.counts()
    left_out = {
        class_name: _too_few(name, class_name, least, count)
        for class_name, least, count in zip(given.classes, fewest, counts, strict=True)
        if least < FEWEST_EXAMPLES
    }
    kept = [number for number, class_name in enumerate(given.classes) if class_name not in left_out]
    if len(kept) < 2:
        raise TooFewError(_no_two(name, given, left_out))
    places = given.of_classes(kept)
    matched = len(kept) == 2
    most = tokens * (split.draws + 1)
    drawn = places.at(_pairs(places, split, most, generator) if matched else _balanced(places, most, generator))
    for class_name, least, count in zip(drawn.classes, split.fewest(drawn), drawn.counts(), strict=True):
        if least < FEWEST_EXAMPLES:
            paired = " whose token stands in the other class too" if matched else ""
            remedy = "more --tokens" if count == most else DOCUMENTS_OR_DRAWS
            raise TooFewError(_too_few(name, class_name, least, count, paired, remedy=remedy))
    return Sample(places=drawn, matched=matched, left_out=left_out)


def _too_few(
    name: str, class_name: str, least: int, count: int, which: str = "", *, remedy: str = DOCUMENTS_OR_DRAWS
) -> str:
    return (
        f"{name}: class {class_name!r} has {count} tokens{which}, {least} of them in one part of the documents, and a"
        f" probe needs {FEWEST_EXAMPLES} in each part: give {remedy}"
    )


def _no_two(name: str, given: LabelledPlaces, left_out: Mapping[str, str]) -> str:
    present = [class_name for class_name, count in zip(given.classes, given.counts(), strict=True) if count]
    if len(present) > 1:
        return "; ".join(left_out.values())
    said = f"all {len(given.label):,} tokens are {present[0]!r}" if present else "no token has a class"
    return f"{name}: {said}: a probe needs documents with two classes at least"


def _pairs(places: LabelledPlaces, split: Split, pairs: int, generator: torch.Generator) -> Int[Tensor, " chosen"]:
    """Draw pairs of places with the same token id in the same part of the documents, one of either class.

    Were they paired over all documents, an id more often in one class where probes are fitted would be less often in it
    where they are tested.
    """
    alike: defaultdict[tuple[int, int], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    order = torch.randperm(len(places.label), generator=generator)
    columns = (order, places.token_id[order], split.part[places.document[order]], places.label[order])
    for place, token_id, part, label in zip(*(column.tolist() for column in columns), strict=True):
        alike[token_id, part][label].append(place)
    found = torch.tensor([pair for both in alike.values() for pair in zip(*both, strict=False)], dtype=torch.long)
    found = found.view(-1, 2)
    return found[torch.randperm(len(found), generator=generator)[:pairs]].flatten()


def _balanced(places: LabelledPlaces, most: int, generator: torch.Generator) -> Int[Tensor, " chosen"]:
    """Draw as many places of each class, or all where it has fewer."""
    order = torch.randperm(len(places.label), generator=generator)
    return torch.cat([order[places.label[order] == number][:most] for number in range(len(places.classes))])


def shuffled_by_document(
    label: Int[Tensor, " token"], document: Int[Tensor, " token"], generator: torch.Generator
) -> Int[Tensor, " token"]:
    """Return labels that documents have taken over from others, as often each; labels stay alike within documents."""
    number = document.unique(return_inverse=True)[1]
    rank = torch.randperm(int(number.max()) + 1, generator=generator)[number]
    shuffled = torch.empty_like(label)
    shuffled[number.argsort(stable=True)] = label[rank.argsort(stable=True)]
    return shuffled


def token_alone(
    places: LabelledPlaces, fits: Bool[Tensor, " token"], tests: Bool[Tensor, " token"]
) -> tuple[Int[Tensor, " tested"], Bool[Tensor, " tested"]]:
    """Return the class that each tested token's id has most often among fitting tokens, classes weighing the same, and
    whether that id stands among them."""
    n_classes = len(places.classes)
    ids, number = places.token_id.unique(return_inverse=True)
    cells = (number * n_classes + places.label)[fits].bincount(minlength=len(ids) * n_classes).view(-1, n_classes)
    shares = cells / cells.sum(dim=0)
    return shares.argmax(dim=1)[number[tests]], cells.sum(dim=1)[number[tests]] > 0
