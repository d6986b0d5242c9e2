"""Answers of a run's model, steered with the latents that the settings name or choose."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from toolkit.dictionaries.crosscoder import check_latents
from toolkit.experiments.control import is_embedded
from toolkit.experiments.run import Run
from toolkit.experiments.steering import HESITATION, SteeringConfig, Toward
from toolkit.experiments.steering.study import Candidates, SteeringStudy, candidate_latents, steering_study
from toolkit.interventions.answers import PROMPTS, Question, load_questions
from toolkit.interventions.steering import Writing
from toolkit.latents.categories import Category, categories, load_lexicon
from toolkit.latents.firing import FiringCounts, check_alive
from toolkit.leaving_out import check_any, measurable
from toolkit.models.model_set import ModelSet
from toolkit.models.text.chat import thinking_prompt
from toolkit.models.text.tokenizers import encode


def measure(settings: SteeringConfig, run: Run) -> SteeringStudy:
    """Pick directions on some questions, compare them on others; raises `ValueError` where nothing can be picked."""
    development, test = open_questions(settings, run)
    names = run.models.names
    if settings.model not in names:
        raise ValueError(f"--model {settings.model}: no model is called that: choose from {', '.join(names)}")
    if settings.model != names[-1]:
        check_prompts(run.models, [*development, *test])
    lexicon = categories(run.models.tokenizer, load_lexicon(settings.lexicon))
    writing = _writing(settings, run, lexicon)
    counts = count_firing(run, lexicon, settings.tokens)
    groups, left_out = _groups(settings, run, counts, settings.aims or {settings.category: settings.toward})
    check_any(groups, left_out)
    study = steering_study(
        run.models.models[settings.model],
        run.crosscoder,
        groups,
        development=development,
        test=test,
        settings=settings.settings(),
        writing=writing,
        model_name=settings.model,
    )
    return replace(study, left_out=left_out)


def check_prompts(models: ModelSet, questions: Sequence[Question]) -> None:
    """Raise `ValueError` for a question that, laid out, has ids which mean different things to the models.

    The tokenizer is the last model's.
    """
    for row in encode(models.tokenizer, [thinking_prompt(models.tokenizer, each.question) for each in questions]):
        models.check_ids(torch.tensor([row]), torch.ones(1, len(row), dtype=torch.long))


def count_firing(run: Run, lexicon: Sequence[Category], tokens: int) -> FiringCounts:
    """How often latents fire on held-out text, in all and around the categories' words."""
    counts = FiringCounts(lexicon, run.crosscoder.config.n_latents)
    for coded in run.coded(tokens):
        counts.add(coded.batch.input_ids, coded.selected, coded.codes)
    return counts


def open_questions(settings: SteeringConfig, run: Run) -> tuple[list[Question], list[Question]]:
    """Questions to pick directions on, and others to test them on, perhaps fewer than asked for.

    Raises `ValueError` where fewer than two are left to test on.
    """
    path = settings.questions or PROMPTS / ("embedded.jsonl" if is_embedded(run.models) else "everyday.jsonl")
    questions = load_questions(path)
    development, rest = questions[: settings.development], questions[settings.development :]
    if len(rest) < 2:
        raise ValueError(
            f"{path} holds {len(questions)} questions, and --development {settings.development} leaves {len(rest)} to"
            " test on, where two are needed: give more questions or a lower --development"
        )
    return development, rest[: settings.test]


def _groups(
    settings: SteeringConfig, run: Run, counts: FiringCounts, aims: Mapping[str, Toward]
) -> tuple[dict[str, Candidates], dict[str, str]]:
    """Candidates by category, and by name why a category has none."""
    if settings.latents:
        check_latents(settings.latents, run.crosscoder.config.n_latents)
        check_alive(counts, settings.latents)
        return {"named latents": Candidates(directions=(settings.latents,), toward=settings.toward)}, {}
    names = [category.name for category in counts.categories]
    if unknown := [name for name in aims if name not in names]:
        raise ValueError(f"no category is called {unknown[0]!r}: choose from {', '.join(names)}")

    def candidates(name: str) -> Candidates:
        latents = candidate_latents(counts, names.index(name), settings.candidates)
        return Candidates(directions=tuple((latent,) for latent in latents), toward=aims[name])

    return measurable(aims, candidates)


def _writing(settings: SteeringConfig, run: Run, lexicon: Sequence[Category]) -> Writing:
    return Writing(
        layer=run.layer,
        hesitation_ids=frozenset(hesitation(run, lexicon).token_ids),
        new_tokens=settings.new_tokens,
        temperature=settings.temperature,
        samples=settings.samples,
        edit_prompt=settings.edit_prompt,
        seed=settings.seed,
    )


def hesitation(run: Run, lexicon: Sequence[Category]) -> Category:
    """The lexicon's self-reflection words; the shipped ones where it has none."""
    own = [category for category in lexicon if category.name == HESITATION and category.token_ids]
    return (own or categories(run.models.tokenizer, {HESITATION: load_lexicon()[HESITATION]}))[0]
