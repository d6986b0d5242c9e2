"""Directions of steering, latents and random ones, and a model's answers along them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.answers.answer_tables import Answers
from toolkit.answers.answering import Answerer, Writing, answer_each
from toolkit.answers.questions import Question
from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.interventions.edits import mean_norm, shift, stream_index, unit_row
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


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswersAlong:
    """Answers of every arm, a direction at a strength, to every question."""

    answers: Answers
    places: Mapping[Arm, int]

    def at(self, direction: Direction, strengths: Sequence[float]) -> Answers:
        """Return the answers along a direction, an arm for each strength."""
        return self.answers.arms([self.places[direction, strength] for strength in strengths])


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
        chance = torch.Generator().manual_seed(seed)
        random = torch.nn.functional.normalize(torch.randn(n_random, model.d_model, generator=chance), dim=1)
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

    def answer(self, questions: Sequence[Question], arms: Iterable[Arm], writing: Writing) -> AnswersAlong:
        """Answer every question in every arm; an arm that is asked for several times is written once."""
        places = {arm: place for place, arm in enumerate(dict.fromkeys(arms))}
        steered = [
            Answerer(self.model, shift(self.layer, strength * self.vector(direction))) for direction, strength in places
        ]
        return AnswersAlong(answers=answer_each(steered, questions, writing), places=places)
