"""Labels as data: a class for each of some tokens of some documents, from what is known of the text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledPlaces:
    """Places in documents, each with a class."""

    classes: tuple[str, ...]
    document: Int[Tensor, " token"]
    position: Int[Tensor, " token"]
    """In the document; never 0, an attention sink."""
    label: Int[Tensor, " token"]
    """Index into `classes`."""
    token_id: Int[Tensor, " token"]
    """The id that stands there."""
    left_out: Mapping[str, str]
    """Why a class has no tokens here, by name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledText:
    """Documents as ids, and the labels that are read in them, by name."""

    rows: Sequence[Sequence[int]]
    labels: Mapping[str, LabelledPlaces]
    left_out: Mapping[str, str]
    """Why a label cannot be measured, by name."""
