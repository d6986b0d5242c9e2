"""All that stitching two models gave, as `measure` returns it and the page shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.experiments.stitching.generation import StitchedAnswers
from toolkit.experiments.stitching.study import StitchingStudy
from toolkit.stitching.trained import Trained


@dataclass(frozen=True, kw_only=True, eq=False)
class StitchingFound:
    """What maps cost, what training them took, and what stitched models write."""

    study: StitchingStudy
    trained: Mapping[str, Mapping[str, Sequence[Trained]]]
    """By direction and map a training for each fit, at the middle cut; empty where no map was trained."""
    answers: Mapping[str, StitchedAnswers]
    """By direction, at the middle cut; empty where no problems were asked."""
