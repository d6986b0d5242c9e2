"""Does a latent steer better than chance? The best candidate against the best of as many controls of either kind.

All are picked by the same measure on the same development questions, and compared on fresh ones. The procedure is
repeated for the crosscoder of each seed, at the two strengths between which the slope is measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.answers.answer_tables import Answers
from toolkit.answers.questions import Question
from toolkit.experiments.steering import SteeringSettings, Toward
from toolkit.experiments.steering.directions import (
    UNSTEERED,
    AnswersAlong,
    Arm,
    Direction,
    Slopes,
    Steering,
    steepest,
)
from toolkit.latents.firing import FiringCounts
from toolkit.latents.selection import LEAST_FIRINGS, Likeness, ranked_latents
from toolkit.leaving_out import TooFewError

LEAST_RATE = 0.2
RANDOM, ALIKE = "random directions", "latents that fire as often"


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What may steer a group's answers, and what it should do when it is added."""

    directions: Mapping[int, tuple[Direction, ...]]
    """By the crosscoder's seed, the run's own first."""
    toward: Toward
    """Whether answers should become longer or shorter with strength."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Picked:
    """A direction that was picked on the development questions."""

    direction: Direction
    turn: float
    """-1 for a control that points the wanted way only when it is subtracted."""
    development: Slopes[Direction]
    """On the development questions, of all directions that it was picked from."""
    slope: Float[Tensor, " question"]
    """On the test questions, turned."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Steered:
    """One group's latent on the test questions, beside the best of each kind of control."""

    toward: Toward
    answers: Answers
    """[strength, question], along the run's own latent."""
    random: Answers
    """The same for the best random direction, turned so that it points the wanted way."""
    seeds: dict[int, Picked]
    """What was picked of each crosscoder, by seed, the run's own first."""
    controls: dict[str, Picked]
    """By kind."""

    @property
    def sign(self) -> float:
        """1 where answers should become longer, -1 where shorter."""
        return 1.0 if self.toward == "longer" else -1.0

    @property
    def own(self) -> Picked:
        """What was picked of the run's own crosscoder."""
        return next(iter(self.seeds.values()))

    @property
    def slopes(self) -> Float[Tensor, "seed question"]:
        """The slopes of all seeds' latents on the test questions."""
        return torch.stack([pick.slope for pick in self.seeds.values()])

    @property
    def latents(self) -> tuple[int, ...]:
        """The run's own latents that were picked."""
        return self.own.direction.numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class SteeringStudy:
    """All groups; they share the unsteered answers and the controls."""

    unsteered: Answers
    """[1, question]"""
    groups: dict[str, Steered]
    strengths: tuple[float, ...]
    slope_strengths: tuple[float, ...]
    questions: tuple[Question, ...]
    development_questions: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why a category or a kind of control that was asked for could not be had, by name."""


def candidate_latents(counts: FiringCounts, category: int, n: int) -> tuple[int, ...]:
    """The `n` latents with the largest lift where the category's words are predicted, firing on a fifth of them.

    Raises `TooFewError` where there is none.
    """
    counts.categories[category].check_tokens()
    often = counts.rate("predicting")[category] >= LEAST_RATE
    found = ranked_latents(counts, category, rule="lift", place="predicting", eligible=often)[:n]
    if not len(found):
        raise TooFewError(
            f"no latent fires on {LEAST_RATE:.0%} of the positions that predict {counts.categories[category].name!r},"
            f" and on {LEAST_FIRINGS} of them: name some with --latents, or read more --tokens"
        )
    return tuple(found.tolist())


def latents_alike(
    counts: FiringCounts, groups: Mapping[str, Candidates], n: int, generator: torch.Generator
) -> tuple[Direction, ...]:
    """Return `n` latents of the run's own crosscoder that are no candidates, each firing about as often as one that is.

    A latent's row is a direction along which the stream varies; a random direction mostly is not.
    Raises `TooFewError` where too few latents are left.
    """
    of_groups = [next(iter(group.directions.items())) for group in groups.values()]
    seed = of_groups[0][0]
    candidates = torch.tensor(sorted({i for _, directions in of_groups for each in directions for i in each.numbers}))
    like = candidates[torch.randperm(len(candidates), generator=generator)][torch.arange(n) % len(candidates)]
    free = counts.fired > 0
    free[candidates] = False
    rate = counts.fired / counts.tokens
    matched = Likeness(mean_code=rate, nrn=torch.zeros_like(rate)).matched(like, free, generator)
    return tuple(Direction(seed, (latent,)) for latent in matched.tolist())


def steering_study(
    steering: Steering,
    groups: Mapping[str, Candidates],
    alike: Sequence[Direction],
    *,
    development: Sequence[Question],
    test: Sequence[Question],
    settings: SteeringSettings,
) -> SteeringStudy:
    """Pick each group's latents, and the controls to beat, on `development`; compare them on `test`."""
    random = [Direction(None, (number,)) for number in range(len(steering.random))]
    controls = {RANDOM: random} | ({ALIKE: list(alike)} if alike else {})
    candidates = [each for group in groups.values() for of_seed in group.directions.values() for each in of_seed]
    between = settings.slope_strengths
    arms = [(each, at) for each in (*candidates, *random, *alike) for at in between]
    # Chance of its own: with the test questions' seeds, a direction would be picked by the noise it is tested with.
    written = steering.answer(development, arms, replace(steering.writing, seed=steering.writing.seed + 1))
    picks = {name: _picks(group, controls, written.slopes(between)) for name, group in groups.items()}
    wanted = [UNSTEERED, *(arm for of_group in picks.values() for arm in of_group.arms(settings))]
    tested = steering.answer(test, wanted, steering.writing)
    return SteeringStudy(
        unsteered=tested.at(UNSTEERED[0], UNSTEERED[1:]),
        groups={name: of_group.steered(groups[name].toward, tested, settings) for name, of_group in picks.items()},
        strengths=settings.strengths,
        slope_strengths=between,
        questions=tuple(test),
        development_questions=len(development),
    )


@dataclass(frozen=True, kw_only=True)
class _Pick:
    direction: Direction
    turn: float
    development: Slopes[Direction]

    def turned(self, strengths: Sequence[float]) -> list[float]:
        return [self.turn * strength for strength in strengths]

    def tested(self, written: AnswersAlong[Direction], strengths: tuple[float, ...]) -> Picked:
        slope = written.at(self.direction, self.turned(strengths)).slope(strengths)
        return Picked(direction=self.direction, turn=self.turn, development=self.development, slope=slope)


@dataclass(frozen=True, kw_only=True)
class _Picks:
    """A group's picks, before they are tested."""

    seeds: dict[int, _Pick]
    controls: dict[str, _Pick]

    def arms(self, settings: SteeringSettings) -> Iterator[Arm]:
        """What must be written to test them: all at the slope's strengths, and two at all strengths."""
        own, random = next(iter(self.seeds.values())), self.controls[RANDOM]
        for pick in (*self.seeds.values(), *self.controls.values()):
            whole = settings.strengths if pick in (own, random) else ()
            yield from ((pick.direction, at) for at in pick.turned((*whole, *settings.slope_strengths)))

    def steered(self, toward: Toward, written: AnswersAlong[Direction], settings: SteeringSettings) -> Steered:
        own, random = next(iter(self.seeds.values())), self.controls[RANDOM]
        between = settings.slope_strengths
        return Steered(
            toward=toward,
            answers=written.at(own.direction, settings.strengths),
            random=written.at(random.direction, random.turned(settings.strengths)),
            seeds={seed: pick.tested(written, between) for seed, pick in self.seeds.items()},
            controls={kind: pick.tested(written, between) for kind, pick in self.controls.items()},
        )


def _picks(group: Candidates, controls: Mapping[str, Sequence[Direction]], slopes: Slopes[Direction]) -> _Picks:
    """The steepest candidate of each seed, and the steepest control of each kind, by their means.

    A control may be turned round, a candidate may not: its sign means something.
    """
    sign = 1.0 if group.toward == "longer" else -1.0
    means = {direction: float(slope.mean()) for direction, slope in slopes.items()}

    def of(directions: Sequence[Direction]) -> Slopes[Direction]:
        return {each: slopes[each] for each in directions}

    seeds = {
        seed: _Pick(direction=max(those, key=lambda each: sign * means[each]), turn=1.0, development=of(those))
        for seed, those in group.directions.items()
    }
    best = {kind: steepest(of(those), sign) for kind, those in controls.items()}
    return _Picks(
        seeds=seeds,
        controls={
            kind: _Pick(direction=each, turn=turn, development=of(controls[kind]))
            for kind, (each, turn) in best.items()
        },
    )
