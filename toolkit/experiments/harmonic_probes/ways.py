"""Ways to change a stream toward a class: along directions, as a shift, or to the class's point."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.experiments.harmonic_probes import HESITATES, TONE
from toolkit.experiments.harmonic_probes.centres import ClassPoints
from toolkit.interventions.edits import move_toward, shift
from toolkit.models.model.edits import Edit

CENTRE, POINT, LOGISTIC, MEANS = "from centre to centre", "to the centre itself", "logistic direction", "class means"
OF_DRAWS = (CENTRE, POINT, LOGISTIC, MEANS)
"""Ways that probes of each draw give."""
RANDOM = "random directions"
CLASSES = {HESITATES: ("another word", "hesitation"), TONE: ("sure", "doubtful")}
"""The class that is steered away from, and the one that is steered toward."""

Way = tuple[str, int]
"""A way, and the draw or the number of the direction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Site:
    """Where answers are steered, and the stream there in the model's own answers, unsteered."""

    layer: int
    streams: Float[Tensor, "position d_model"]

    @cached_property
    def norm(self) -> float:
        """Its mean norm: the unit of strengths."""
        return float(self.streams.norm(dim=1).mean())

    def distance(self, point: Float[Tensor, " d_model"]) -> float:
        """Its mean distance to a point, in mean norms."""
        return float((self.streams - point.to(self.streams)).norm(dim=1).mean()) / self.norm

    def along(self, direction: Float[Tensor, " d_model"], strength: float) -> Edit:
        """Shift by a vector of a direction, as long as `strength` mean norms."""
        unit = torch.nn.functional.normalize(direction.float(), dim=0)
        return shift(self.layer, strength * self.norm * unit)

    def to_point(self, point: Float[Tensor, " d_model"], strength: float) -> Edit:
        """Move to a point by a share that makes the mean length of the change `strength` mean norms."""
        return move_toward(self.layer, point.float(), strength / self.distance(point))


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoClasses:
    """What the probes of each draw say of the class that is steered away from, and of the one steered toward."""

    away: str
    toward: str
    centres: Float[Tensor, "draw 2 d_model"]
    directions: Mapping[str, Float[Tensor, "draw d_model"]]
    """From the first to the second class, by way."""

    @classmethod
    def of(cls, label: str, points: ClassPoints) -> "TwoClasses":
        """The two classes of a label in `CLASSES`."""
        away, toward = CLASSES[label]
        pair = [points.classes.index(name) for name in (away, toward)]
        kinds = {CENTRE: points.harmonic, LOGISTIC: points.logistic, MEANS: points.means}
        return cls(
            away=away,
            toward=toward,
            centres=points.harmonic[:, pair],
            directions={way: each[:, pair[1]] - each[:, pair[0]] for way, each in kinds.items()},
        )

    @property
    def draws(self) -> int:
        """Draws of fitting documents."""
        return len(self.centres)

    def edits(self, site: Site, strengths: tuple[float, ...]) -> dict[tuple[Way, float], Edit]:
        """The edits of every way, draw and strength; below 0 they go toward the other class."""
        edits: dict[tuple[Way, float], Edit] = {}
        for draw in range(self.draws):
            for strength in strengths:
                for way, directions in self.directions.items():
                    edits[(way, draw), strength] = site.along(directions[draw], strength)
                point = self.centres[draw, int(strength > 0)]
                edits[(POINT, draw), strength] = site.to_point(point, abs(strength))
        return edits
