"""The maps of every direction and cut, fitted on several draws of documents."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from toolkit.experiments.control import CONTROL
from toolkit.experiments.stitching import CLOSED_FORM, TRAINED, StitchingConfig
from toolkit.experiments.stitching.study import (
    BASE_TO_CONTROL,
    BASE_TO_DISTILLED,
    DISTILLED_TO_BASE,
    IDENTITY,
    MEAN_SHIFT,
    RIDGE,
    SELF,
    SELF_BASE,
)
from toolkit.experiments.stitching.texts import StitchingText
from toolkit.models.model.traced_model import TracedModel
from toolkit.stitching.closed_form import variance_explained
from toolkit.stitching.cuts import cuts_of
from toolkit.stitching.fitting import CLOSED_FORMS, OF_ONE_WIDTH
from toolkit.stitching.maps import AffineMap
from toolkit.stitching.moments import Cut, CutMoments, read_moments
from toolkit.stitching.opening import StitchableModels
from toolkit.stitching.stitch import Stitch
from toolkit.stitching.trained import MapTraining, Trained, train_map

STOPPING_TOKENS = 4096
"""Tokens of other documents that tell when to stop training a map."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Direction:
    """A front and a receiver, and where they are cut."""

    front: str
    rest: str
    cuts: tuple[Cut, ...]

    @property
    def middle(self) -> Cut:
        """The cut that claims are about: that next to half of the receiver's depth, of those that are given."""
        return self.cuts[len(self.cuts) // 2]

    @property
    def is_self(self) -> bool:
        """Whether a model is stitched to itself."""
        return self.front == self.rest


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """One map that is measured."""

    direction: str
    cut: Cut
    name: str
    """The map's name."""
    fit: int
    rank: int | None
    """The rank to which it is truncated; None for the whole map."""
    map: AffineMap
    turned: float | None
    """How far it is from the identity, the shift of the mean left out; None where widths differ."""
    explained: float
    """The share of the variance of the receiver's stream that it explains, in the documents that choose a ridge's
    penalty."""


def directions_of(models: StitchableModels, layers: Sequence[int]) -> dict[str, Direction]:
    """All directions between the first two models, of each to itself, and from the first to a control.

    The control is cut at the middle alone. Raises `ValueError` for a layer that a receiver does not have.
    """
    first, last = (name for name in models.names if name != CONTROL)
    ways = {BASE_TO_DISTILLED: (first, last), DISTILLED_TO_BASE: (last, first), SELF: (last, last)}
    ways |= {SELF_BASE: (first, first)}
    made = {name: _direction(models, *way, layers) for name, way in ways.items()}
    if CONTROL in models.names:
        whole = _direction(models, first, CONTROL, layers)
        made[BASE_TO_CONTROL] = Direction(front=first, rest=CONTROL, cuts=(whole.middle,))
    return made


def _direction(models: StitchableModels, front: str, rest: str, layers: Sequence[int]) -> Direction:
    cuts = sorted(cuts_of(models.models[front], models.models[rest], layers), key=lambda cut: cut[1])
    return Direction(front=front, rest=rest, cuts=tuple(cuts))


class Fits:
    """Fits maps as the settings ask for."""

    def __init__(
        self,
        settings: StitchingConfig,
        models: StitchableModels,
        text: StitchingText,
        directions: Mapping[str, Direction],
    ) -> None:
        self._settings, self._models, self._text, self._directions = settings, models, text, directions
        self.fitted_tokens: list[int] = []
        """Tokens that each fit is from."""
        self.trained: dict[str, dict[str, Trained]] = {}
        """What training took, by direction and map."""
        same = len({model.d_model for model in models.models.values()}) == 1
        widths = " and ".join(f"{model.d_model:,}" for model in models.models.values())
        self.left_out: dict[str, str] = {
            name: f"it needs streams of one width, and these have {widths}"
            for name in settings.maps
            if name in OF_ONE_WIDTH and not same
        }
        """Why a map is not tried, by its name."""

    def all(self) -> list[Fitted]:
        """Every map at every cut from the first draw of documents, and at the middle cuts from the other draws too.

        The ridge of the first draw is truncated there, and maps are trained from it.
        """
        found: list[Fitted] = []
        for fit in range(self._settings.seeds):
            moments = self._moments(fit)
            for name, of_cuts in moments.items():
                for cut, of_cut in of_cuts.items():
                    found += self._closed_forms(name, cut, of_cut, fit)
            if fit == 0:
                found += self._at_middle(found, moments)
        return found

    def _moments(self, fit: int) -> dict[str, dict[Cut, CutMoments]]:
        """The moments of each direction's cuts; but for the first fit of the middle ones between two models alone."""
        cuts = {name: way.cuts if fit == 0 else (way.middle,) for name, way in self._directions.items()}
        there, back = cuts[BASE_TO_DISTILLED], cuts[DISTILLED_TO_BASE]
        way = self._directions[BASE_TO_DISTILLED]
        read = self._read(fit, way.front, way.rest, dict.fromkeys([*there, *((rest, front) for front, rest in back)]))
        found = {
            BASE_TO_DISTILLED: {cut: read[cut] for cut in there},
            DISTILLED_TO_BASE: {(front, rest): read[rest, front].reversed() for front, rest in back},
        }
        self.fitted_tokens.append(next(iter(read.values())).fit.n)
        if fit == 0:
            found[SELF] = {(cut[1], cut[1]): read[cut].reversed().front_to_itself() for cut in there}
            found[SELF_BASE] = {(rest, rest): read[rest, front].front_to_itself() for front, rest in back}
        if BASE_TO_CONTROL in cuts:
            found[BASE_TO_CONTROL] = self._read(fit, way.front, CONTROL, cuts[BASE_TO_CONTROL])
        return found

    def _read(self, fit: int, front: str, rest: str, cuts: Iterable[Cut]) -> dict[Cut, CutMoments]:
        batches = self._text.fitting(self._settings.tokens, fit, self._settings.seeds + 1, rest)
        sender = self.front(front, rest)
        return read_moments(sender, self._models.models[rest], batches, self._text.mask(rest), list(cuts))

    def front(self, front: str, rest: str) -> TracedModel:
        """The model of a front, as it reads the ids of a receiver."""
        return self._models.reading(rest)[front]

    def stitch(self, fitted: Fitted) -> Stitch:
        """The edit of a map."""
        way = self._directions[fitted.direction]
        return Stitch(self.front(way.front, way.rest), fitted.map, fitted.cut[1], fitted.cut[0])

    def _closed_forms(self, direction: str, cut: Cut, moments: CutMoments, fit: int) -> list[Fitted]:
        """Maps in closed form. The identity has one fit; and a model's mean shift to itself is the identity."""
        way = self._directions[direction]
        skipped = {*self.left_out, *([MEAN_SHIFT] if way.is_self else []), *([IDENTITY] if fit > 0 else [])}
        names = [name for name in self._settings.maps if name in CLOSED_FORM and name not in skipped]
        return [self._fitted(direction, cut, name, CLOSED_FORMS[name](moments), moments, fit) for name in names]

    def _at_middle(self, found: Sequence[Fitted], moments: Mapping[str, Mapping[Cut, CutMoments]]) -> list[Fitted]:
        more: list[Fitted] = []
        for name in (BASE_TO_DISTILLED, DISTILLED_TO_BASE):
            cut = self._directions[name].middle
            whole = [each for each in found if (each.direction, each.cut, each.name) == (name, cut, RIDGE)]
            for ridge in whole:
                more += self._truncated(ridge, moments[name][cut])
            more += self._trained(name, cut, moments[name][cut])
        return more

    def _truncated(self, ridge: Fitted, moments: CutMoments) -> list[Fitted]:
        most = min(ridge.map.weight.shape)
        ranks = [2**power for power in range(most.bit_length()) if 2**power < most]
        return [
            self._fitted(
                ridge.direction, ridge.cut, RIDGE, ridge.map.truncated(rank, moments.fit.front), moments, 0, rank
            )
            for rank in ranks
        ]

    def _trained(self, direction: str, cut: Cut, moments: CutMoments) -> list[Fitted]:
        settings, way = self._settings, self._directions[direction]
        asked = [name for name in settings.maps if name in TRAINED] if settings.steps else []
        rest, parts = self._models.models[way.rest], settings.seeds + 1
        if not asked:
            return []
        if not rest.place.keeps_caches:
            why = f"{way.rest} runs on NDIF or with split layers, and a map is trained through weights in this process"
            self.left_out |= dict.fromkeys(asked, why)
            return []
        ridge = CLOSED_FORMS[RIDGE](moments)
        zero = AffineMap(
            weight=torch.zeros_like(ridge.weight),
            bias=torch.zeros_like(ridge.bias),
            first_bias=torch.zeros_like(ridge.first_bias),
        )
        starts = dict(zip(TRAINED, (ridge, zero), strict=True))
        batches = list(self._text.fitting(settings.tokens, 0, parts, way.rest, small=True))
        held_out = list(self._text.fitting(STOPPING_TOKENS, settings.seeds, parts, way.rest, small=True))
        front, training = self.front(way.front, way.rest), MapTraining(steps=settings.steps, seed=settings.seed)
        found = []
        for name in asked:
            trained = train_map(rest, Stitch(front, starts[name], cut[1], cut[0]), batches, held_out, training)
            self.trained.setdefault(direction, {})[name] = trained
            found.append(self._fitted(direction, cut, name, trained.map, moments, 0))
        return found

    def _fitted(
        self,
        direction: str,
        cut: Cut,
        name: str,
        map: AffineMap,
        moments: CutMoments,
        fit: int,
        rank: int | None = None,
    ) -> Fitted:
        front, rest = map.weight.shape
        turned = map.from_identity(moments.fit.front) if front == rest and rank is None else None
        return Fitted(
            direction=direction,
            cut=cut,
            name=name,
            fit=fit,
            rank=rank,
            map=map,
            turned=turned,
            explained=variance_explained(map, moments.chosen_by),
        )
