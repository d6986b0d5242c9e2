"""What do answers become when a latent is added to the residual stream, or taken from it?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from toolkit.dictionaries.crosscoder import check_latents
from toolkit.experiments.control import is_embedded
from toolkit.experiments.run import FindingsConfig, Subject, check_alive
from toolkit.experiments.steering.study import (
    Candidates,
    SteeringSettings,
    SteeringStudy,
    Toward,
    candidate_latents,
    steering_study,
)
from toolkit.interventions.answers import PROMPTS, Question, load_questions
from toolkit.interventions.steering import Writing
from toolkit.latents.categories import Category, categories, load_lexicon
from toolkit.latents.firing import FiringCounts
from toolkit.leaving_out import check_any, measurable
from toolkit.models.model.sampling import Sampling
from toolkit.models.pair import ModelPair
from toolkit.models.text.chat import thinking_prompt
from toolkit.models.text.tokenizers import encode
from toolkit.ranges import Count, PositiveOrNone

HESITATION = "self-reflection"


@dataclass(frozen=True, kw_only=True)
class SteeringConfig(FindingsConfig):
    """Steer answers with latents, against random directions picked on the same development questions."""

    FINDINGS = ("steering",)
    out: Path = Path("runs/steer")
    """Folder for the page, its figures and the JSON of results."""
    latents: tuple[int, ...] = ()
    """Latents to steer with, all at once; default: the best candidate of --category."""
    category: str = HESITATION
    """Category whose latents are candidates: those with the largest lift where its words are predicted."""
    toward: Toward = "longer"
    """What adding the latent should do to answers; the pick goes by it."""
    candidates: int = 16
    """Latents to pick from, and at least as many random directions."""
    strengths: tuple[float, ...] = SteeringSettings.strengths
    """Strengths, in mean norms of the residual stream; 0 is always run too."""
    suppress: bool = False
    """Take away only: every strength below zero."""
    questions: Path | None = None
    """JSONL file of {"question", "answer"}; default: the shipped ones for this pair."""
    development: int = 32
    """Questions that directions are picked on, the file's first."""
    test: int = 96
    """Questions that the picked directions are compared on, the next ones."""
    temperature: PositiveOrNone = 0.6
    """0 is greedy; .6 is usual for R1 models. All arms meet the same chance."""
    samples: int = 1
    """Answers a question and arm."""
    new_tokens: int = 320
    """Tokens after which an answer is cut."""
    edit_prompt: bool = False
    """Steer the prompt's positions too."""
    model: Literal["base", "distilled"] = "distilled"
    """The model that answers."""
    tokens: Count = 65_536
    """Held-out tokens on which firing is counted."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; its self-reflection words, else the shipped ones, count as hesitation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"candidates": 1, "development": 2, "test": 2, "samples": 1}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise ValueError(f"--{name} {getattr(self, name)}: must be at least {minimum}")
        Sampling(new_tokens=self.new_tokens, temperature=self.temperature)
        self.settings()

    def settings(self) -> SteeringSettings:
        """How directions are picked and tested."""
        strengths = {-abs(s) for s in self.strengths} if self.suppress else set(self.strengths)
        return SteeringSettings(strengths=tuple(sorted(strengths)), random_directions=self.candidates, seed=self.seed)


def measure_steering(
    config: SteeringConfig, subject: Subject, aims: Mapping[str, Toward] | None = None
) -> SteeringStudy:
    """Run the study; `aims` asks for several categories at once instead of the settings' one."""
    development, test = open_questions(config, subject)
    if config.model == "base":
        check_prompts(subject.pair, [*development, *test])
    lexicon = categories(subject.pair.tokenizer, load_lexicon(config.lexicon))
    writing = _writing(config, subject, lexicon)
    counts = count_firing(subject, lexicon, config.tokens)
    groups, left_out = _groups(config, subject, counts, aims or {config.category: config.toward})
    check_any(groups, left_out)
    model = subject.pair.base if config.model == "base" else subject.pair.distilled
    study = steering_study(
        model,
        subject.crosscoder,
        groups,
        development=development,
        test=test,
        settings=config.settings(),
        writing=writing,
        model_name=config.model,
    )
    return replace(study, left_out=left_out)


def check_prompts(pair: ModelPair, questions: Sequence[Question]) -> None:
    """Raise `ValueError` for a question that, laid out, has ids which mean something else to the base model."""
    for row in encode(pair.tokenizer, [thinking_prompt(pair.tokenizer, each.question) for each in questions]):
        pair.check_ids(torch.tensor([row]), torch.ones(1, len(row), dtype=torch.long))


def count_firing(subject: Subject, lexicon: Sequence[Category], tokens: int) -> FiringCounts:
    """How often latents fire on held-out text, in all and around the categories' words."""
    counts = FiringCounts(lexicon, subject.crosscoder.config.n_latents)
    for coded in subject.coded(tokens):
        counts.add(coded.batch.input_ids, coded.selected, coded.codes)
    return counts


def open_questions(config: SteeringConfig, subject: Subject) -> tuple[list[Question], list[Question]]:
    """Questions to pick directions on, and others to test them on, perhaps fewer than asked for.

    Raises `ValueError` where fewer than two are left to test on.
    """
    path = config.questions or PROMPTS / ("embedded.jsonl" if is_embedded(subject.pair) else "everyday.jsonl")
    questions = load_questions(path)
    development, rest = questions[: config.development], questions[config.development :]
    if len(rest) < 2:
        raise ValueError(
            f"{path} holds {len(questions)} questions, and --development {config.development} leaves {len(rest)} to"
            " test on, where two are needed: give more questions or a lower --development"
        )
    return development, rest[: config.test]


def _groups(
    config: SteeringConfig, subject: Subject, counts: FiringCounts, aims: Mapping[str, Toward]
) -> tuple[dict[str, Candidates], dict[str, str]]:
    """Candidates by category, and by name why a category has none."""
    if config.latents:
        check_latents(config.latents, subject.crosscoder.config.n_latents)
        check_alive(counts, config.latents)
        return {"named latents": Candidates(directions=(config.latents,), toward=config.toward)}, {}
    names = [category.name for category in counts.categories]
    if unknown := [name for name in aims if name not in names]:
        raise ValueError(f"no category is called {unknown[0]!r}: choose from {', '.join(names)}")

    def candidates(name: str) -> Candidates:
        latents = candidate_latents(counts, names.index(name), config.candidates)
        return Candidates(directions=tuple((latent,) for latent in latents), toward=aims[name])

    return measurable(aims, candidates)


def _writing(config: SteeringConfig, subject: Subject, lexicon: Sequence[Category]) -> Writing:
    return Writing(
        layer=subject.layer,
        hesitation_ids=frozenset(hesitation(subject, lexicon).token_ids),
        new_tokens=config.new_tokens,
        temperature=config.temperature,
        samples=config.samples,
        edit_prompt=config.edit_prompt,
        seed=config.seed,
    )


def hesitation(subject: Subject, lexicon: Sequence[Category]) -> Category:
    """The lexicon's self-reflection words; the shipped ones where it has none."""
    own = [category for category in lexicon if category.name == HESITATION and category.token_ids]
    return (own or categories(subject.pair.tokenizer, {HESITATION: load_lexicon()[HESITATION]}))[0]
