"""Does a latent steer better than chance? The best candidate against the best of as many random directions.

Both are picked by the same measure on the same development questions, and compared on fresh ones.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.experiments.steering import SteeringSettings, Toward
from toolkit.interventions.answers import Question
from toolkit.interventions.edits import mean_norm, stream_index, unit_row
from toolkit.interventions.steering import Answers, Writing, answer_under
from toolkit.latents.firing import FiringCounts
from toolkit.latents.selection import LEAST_FIRINGS, ranked_latents
from toolkit.leaving_out import TooFewError
from toolkit.models.model.traced_model import TracedModel

LEAST_RATE = 0.2


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Latents that may steer, alone or several at once, and what they should do when they are added."""

    directions: tuple[tuple[int, ...], ...]
    """One direction an entry: the sum of its latents' unit decoder rows."""
    toward: Toward
    """Whether answers should become longer or shorter with strength."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Steered:
    """One group's latent on the test questions, beside the best random direction."""

    latents: tuple[int, ...]
    """The direction that was picked."""
    toward: Toward
    answers: Answers
    """[strength, question]"""
    random: Answers
    """The same for the best random direction, turned so that it points the wanted way."""
    random_number: int
    candidate_slopes: dict[tuple[int, ...], Float[Tensor, " question"]]
    """Slope of log length on the development questions, by candidate."""
    random_slopes: list[Float[Tensor, " question"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class SteeringStudy:
    """All groups; they share the unsteered answers."""

    unsteered: Answers
    """[1, question]"""
    groups: dict[str, Steered]
    strengths: tuple[float, ...]
    questions: tuple[Question, ...]
    development_questions: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why a category that was asked for has no latent to steer with, by name."""


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


def steering_study(
    model: TracedModel,
    crosscoder: Crosscoder,
    groups: Mapping[str, Candidates],
    *,
    development: Sequence[Question],
    test: Sequence[Question],
    settings: SteeringSettings,
    writing: Writing,
    model_name: str = "distilled",
) -> SteeringStudy:
    """Pick each group's latent, and the random direction to beat, on `development`; compare them on `test`."""
    candidates = list(dict.fromkeys(direction for group in groups.values() for direction in group.directions))
    check_latents([latent for direction in candidates for latent in direction], crosscoder.config.n_latents)
    stream = stream_index(crosscoder, model_name, writing.layer)
    n_random = max(settings.random_directions, *(len(group.directions) for group in groups.values()))
    chance = torch.Generator().manual_seed(settings.seed)
    random = torch.nn.functional.normalize(torch.randn(n_random, model.d_model, generator=chance), dim=1)
    rows = torch.stack([unit_row(crosscoder, direction, stream) for direction in candidates])
    directions = mean_norm(crosscoder, stream) * torch.cat([rows, random.to(rows)])

    slopes = _development_slopes(model, development, directions, settings, writing)
    of_candidate = dict(zip(candidates, slopes, strict=False))
    random_slopes = slopes[len(candidates) :]
    picked = {name: _pick(group, of_candidate, random_slopes) for name, group in groups.items()}
    arms = [torch.zeros_like(directions[:1])]
    for direction, number, turn in picked.values():
        chosen = [directions[candidates.index(direction)], turn * directions[len(candidates) + number]]
        arms.append(_grid(torch.stack(chosen), settings.strengths))
    answers = answer_under(model, test, torch.cat(arms), writing)
    steered, at, width = {}, 1, len(settings.strengths)
    for name, (direction, number, _) in picked.items():
        steered[name] = Steered(
            latents=direction,
            toward=groups[name].toward,
            answers=answers.arms(slice(at, at + width)),
            random=answers.arms(slice(at + width, at + 2 * width)),
            random_number=number,
            candidate_slopes={each: of_candidate[each] for each in groups[name].directions},
            random_slopes=random_slopes,
        )
        at += 2 * width
    return SteeringStudy(
        unsteered=answers.arms(slice(0, 1)),
        groups=steered,
        strengths=settings.strengths,
        questions=tuple(test),
        development_questions=len(development),
    )


def _development_slopes(
    model: TracedModel,
    questions: Sequence[Question],
    directions: Float[Tensor, "direction d_model"],
    settings: SteeringSettings,
    writing: Writing,
) -> list[Float[Tensor, " question"]]:
    """Slope of log length along each direction, with chance of its own."""
    strengths = settings.development_strengths
    answers = answer_under(model, questions, _grid(directions, strengths), replace(writing, seed=writing.seed + 1))
    arms = (slice(start, start + len(strengths)) for start in range(0, len(answers.texts), len(strengths)))
    return [answers.arms(each).slope(strengths) for each in arms]


def _grid(directions: Float[Tensor, "direction d_model"], strengths: Sequence[float]) -> Float[Tensor, "arm d_model"]:
    """Every direction at every strength, direction by direction."""
    dose = torch.tensor(strengths).to(directions)
    return (dose[None, :, None] * directions[:, None]).flatten(0, 1)


def _pick(
    group: Candidates, of_candidate: Mapping[tuple[int, ...], Tensor], random: Sequence[Tensor]
) -> tuple[tuple[int, ...], int, float]:
    """The candidate and the random direction with the steepest mean slope, and the sign that turns the latter.

    A random direction may be turned round, a latent may not: its sign means something.
    """
    sign = 1.0 if group.toward == "longer" else -1.0
    direction = max(group.directions, key=lambda each: sign * float(of_candidate[each].mean()))
    means = [float(slope.mean()) for slope in random]
    number = max(range(len(means)), key=lambda i: abs(means[i]))
    return direction, number, sign * math.copysign(1.0, means[number])
