"""Answers of a run's model, steered with the latents that the settings name or choose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from toolkit.answers.answering import Writing
from toolkit.answers.questions import instruction_to
from toolkit.dictionaries.crosscoder import check_latents
from toolkit.experiments.control import is_embedded
from toolkit.experiments.run import Run
from toolkit.experiments.steering import SteeringConfig
from toolkit.experiments.steering.besides import Asked, Besides, besides
from toolkit.experiments.steering.directions import Direction, Steering
from toolkit.experiments.steering.questions import open_questions
from toolkit.experiments.steering.study import (
    ALIKE,
    Candidates,
    SteeringStudy,
    candidate_latents,
    latents_alike,
    steering_study,
)
from toolkit.latents.categories import Category, categories, hesitation, load_lexicon
from toolkit.latents.firing import FiringCounts, check_alive
from toolkit.leaving_out import TooFewError, check_any, measurable


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Answers along the picked directions, and what the picked latents do besides."""

    study: SteeringStudy
    besides: dict[str, Besides]
    """By group."""


def measure(settings: SteeringConfig, run: Run) -> Measured:
    """Pick directions on some questions, compare them on others; raises `ValueError` where nothing can be picked."""
    development, test = open_questions(settings, run.models)
    lexicon = categories(run.models.tokenizer, load_lexicon(settings.lexicon))
    counts = count_firing(run, lexicon, settings.tokens)
    groups, left_out = _groups(settings, run, counts)
    check_any(groups, left_out)
    n_random = max(settings.candidates, *(len(each) for group in groups.values() for each in group.directions.values()))
    alike, unmatched = _alike(settings, run, counts, groups, n_random)
    steering = Steering.of(
        run.models.models[settings.model],
        run.crosscoders,
        _writing(settings, run, lexicon),
        layer=run.layer,
        name=settings.model,
        n_random=n_random,
        seed=settings.seed,
    )
    study = steering_study(steering, groups, alike, development=development, test=test, settings=settings.settings())
    by_name = {category.name: category for category in lexicon}
    asked = {
        name: Asked(latents=steered.latents, category=by_name.get(name) or hesitation(run.models.tokenizer, lexicon))
        for name, steered in study.groups.items()
    }
    return Measured(
        study=replace(study, left_out=left_out | unmatched),
        besides=besides(run, asked, model=settings.model, tokens=settings.tokens, seed=settings.seed),
    )


def count_firing(run: Run, lexicon: Sequence[Category], tokens: int) -> dict[int, FiringCounts]:
    """How often each crosscoder's latents fire on held-out text, in all and around the categories' words, by seed."""
    counts = {seed: FiringCounts(lexicon, each.config.n_latents) for seed, each in run.crosscoders.items()}
    for coded in run.coded(tokens):
        for seed, crosscoder in run.crosscoders.items():
            own = crosscoder is run.crosscoder
            codes = coded.codes if own else crosscoder.encode(coded.activations)
            counts[seed].add(coded.batch.input_ids, coded.selected, codes)
    return counts


def _groups(
    settings: SteeringConfig, run: Run, counts: Mapping[int, FiringCounts]
) -> tuple[dict[str, Candidates], dict[str, str]]:
    """Candidates by category, and by name why a category, or one of its seeds, has none."""
    own, first = next(iter(counts.items()))
    aims = settings.aims or {settings.category: settings.toward}
    if settings.latents:
        check_latents(settings.latents, run.crosscoder.config.n_latents)
        check_alive(first, settings.latents)
        named = {own: (Direction(own, settings.latents),)}
        return {"named latents": Candidates(directions=named, toward=settings.toward)}, {}
    names = [category.name for category in first.categories]
    if unknown := [name for name in aims if name not in names]:
        raise ValueError(f"no category is called {unknown[0]!r}: choose from {', '.join(names)}")
    of_seeds: dict[str, str] = {}

    def candidates(name: str) -> Candidates:
        found, without = measurable(counts, lambda seed: of_seed(name, seed))
        if own in without:
            raise TooFewError(without[own])
        of_seeds.update({f"{name}, seed {seed}": why for seed, why in without.items()})
        return Candidates(directions=found, toward=aims[name])

    def of_seed(name: str, seed: int) -> tuple[Direction, ...]:
        latents = candidate_latents(counts[seed], names.index(name), settings.candidates)
        return tuple(Direction(seed, (latent,)) for latent in latents)

    groups, left_out = measurable(aims, candidates)
    return groups, left_out | of_seeds


def _alike(
    settings: SteeringConfig, run: Run, counts: Mapping[int, FiringCounts], groups: Mapping[str, Candidates], n: int
) -> tuple[tuple[Direction, ...], dict[str, str]]:
    """Control latents that fire as often as candidates; where there are too few, none, and why."""
    own = next(iter(counts))
    chance = torch.Generator().manual_seed(settings.seed)
    found, why = measurable([ALIKE], lambda _: latents_alike(counts[own], groups, n, chance))
    return found.get(ALIKE, ()), why


def _writing(settings: SteeringConfig, run: Run, lexicon: Sequence[Category]) -> Writing:
    return Writing(
        hesitation_ids=frozenset(hesitation(run.models.tokenizer, lexicon).token_ids),
        new_tokens=settings.new_tokens,
        temperature=settings.temperature,
        samples=settings.samples,
        edit_prompt=settings.edit_prompt,
        instruction=instruction_to(embedded=is_embedded(run.models)),
        seed=settings.seed,
    )
