"""Directions of steering, latents and random ones, and a model's answers along them."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import copysign
from typing import Generic, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.answers.answer_tables import Answers
from toolkit.answers.answering import Answerer, Writing, answer_each
from toolkit.answers.questions import Question
from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.interventions.edits import mean_norm, shift, stream_index, unit_row
from toolkit.models.model.edits import Change
from toolkit.models.model.traced_model import TracedModel


class Direction(NamedTuple):
    """Latents of one crosscoder, alone or several at once, or a random direction."""

    seed: int | None
    """Seed of the crosscoder; None for a random direction."""
    numbers: tuple[int, ...]
    """The latents, whose unit decoder rows are added; or the number of the random direction."""

    def __str__(self) -> str:
        return f"{'random' if self.seed is None else 'latent'} {' + '.join(map(str, self.numbers))}"


Arm = tuple[Direction, float]
UNSTEERED: Arm = (Direction(None, (0,)), 0.0)


Way = TypeVar("Way", bound=Hashable)
"""What names a direction."""
Slopes = dict[Way, Float[Tensor, "_"]]
"""Slope of log length against strength on each question, by direction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswersAlong(Generic[Way]):
    """Answers of every arm, a direction at a strength, to every question."""

    answers: Answers
    places: Mapping[tuple[Way, float], int]

    @classmethod
    def of(
        cls,
        model: TracedModel,
        edits: Mapping[tuple[Way, float], Change],
        questions: Sequence[Question],
        writing: Writing,
    ) -> "AnswersAlong[Way]":
        """Answer every question under every arm's edit, with the same seeds in all arms."""
        arms = [Answerer(model, edit) for edit in edits.values()]
        places = {arm: place for place, arm in enumerate(edits)}
        return cls(answers=answer_each(arms, questions, writing), places=places)

    def at(self, direction: Way, strengths: Sequence[float]) -> Answers:
        """Return the answers along a direction, an arm for each strength."""
        return self.answers.arms([self.places[direction, strength] for strength in strengths])

    def slopes(self, strengths: Sequence[float]) -> Slopes[Way]:
        """Return the slopes along every direction, all of which were written at these strengths."""
        directions = dict.fromkeys(direction for direction, _ in self.places)
        return {each: self.at(each, strengths).slope(strengths) for each in directions}


def steepest(slopes: Slopes[Way], sign: float) -> tuple[Way, float]:
    """Return the direction with the steepest mean slope either way, and the turn, 1 or -1, that gives it this sign."""
    means = {each: float(slope.mean()) for each, slope in slopes.items()}
    direction = max(means, key=lambda each: abs(means[each]))
    return direction, sign * copysign(1.0, means[direction])


def random_directions(n: int, d_model: int, seed: int) -> Float[Tensor, "number d_model"]:
    """Return `n` random directions of unit length."""
    chance = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(n, d_model, generator=chance), dim=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Steering:
    """A model, and the vector of every direction that it can be steered along."""

    model: TracedModel
    crosscoders: Mapping[int, Crosscoder]
    """By seed, the run's own first."""
    stream: int
    random: Float[Tensor, "number d_model"]
    """Random directions of unit length."""
    layer: int
    """Site of the shifts."""
    writing: Writing

    @classmethod
    def of(
        cls,
        model: TracedModel,
        crosscoders: Mapping[int, Crosscoder],
        writing: Writing,
        *,
        layer: int,
        name: str = "distilled",
        n_random: int,
        seed: int = 0,
    ) -> "Steering":
        """Draw `n_random` directions with `seed`; `name` is the crosscoders' name of the model, `layer` the site."""
        random = random_directions(n_random, model.d_model, seed)
        stream = stream_index(next(iter(crosscoders.values())), name, layer)
        return cls(model=model, crosscoders=crosscoders, stream=stream, random=random, layer=layer, writing=writing)

    @property
    def own(self) -> int:
        """The seed of the run's own crosscoder."""
        return next(iter(self.crosscoders))

    def vector(self, direction: Direction) -> Float[Tensor, " d_model"]:
        """Return the shift along a direction at strength 1: as long as the stream is on average.

        Raises `ValueError` for latents that do not exist.
        """
        crosscoder = self.crosscoders[self.own if direction.seed is None else direction.seed]
        if direction.seed is None:
            unit = self.random[direction.numbers[0]].to(crosscoder.W_dec)
        else:
            check_latents(direction.numbers, crosscoder.config.n_latents)
            unit = unit_row(crosscoder, direction.numbers, self.stream)
        return mean_norm(crosscoder, self.stream) * unit

    def answer(self, questions: Sequence[Question], arms: Iterable[Arm], writing: Writing) -> AnswersAlong[Direction]:
        """Answer every question in every arm; an arm that is asked for several times is written once."""
        edits: dict[Arm, Change] = {
            (direction, strength): shift(self.layer, strength * self.vector(direction)) for direction, strength in arms
        }
        return AnswersAlong.of(self.model, edits, questions, writing)
