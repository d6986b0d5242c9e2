"""What do answers become when a latent is added to the residual stream, or taken from it?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from toolkit.interventions.answers import PROMPTS, Question, load_questions
from toolkit.interventions.edits import check_latents
from toolkit.interventions.steering import Writing
from toolkit.interventions.steering_study import (
    Candidates,
    SteeringSettings,
    SteeringStudy,
    Toward,
    candidate_latents,
    steering_study,
)
from toolkit.latents.categories import Category, categories, load_lexicon
from toolkit.latents.coded_batches import coded_batches, first_tokens
from toolkit.latents.firing import FiringCounts
from toolkit.models.generation import Sampling
from toolkit.runs.control import is_embedded
from toolkit.runs.streams import open_mask, open_tokens
from toolkit.runs.subject import FindingsConfig, Subject


@dataclass(frozen=True, kw_only=True)
class SteeringConfig(FindingsConfig):
    """Steer answers with latents, against random directions picked on the same development questions."""

    out: Path = Path("runs/steer")
    """Folder for the page, its figures and the JSON of results."""
    latents: tuple[int, ...] = ()
    """Latents to steer with, all at once; default: the best candidate of --category."""
    category: str = "self-reflection"
    """Category whose latents are candidates: those with the largest lift where its words are predicted."""
    toward: Toward = "longer"
    """What adding the latent should do to answers; the pick goes by it."""
    candidates: int = 8
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
    temperature: float = 0.6
    """0 is greedy; .6 is usual for R1 models. All arms meet the same chance."""
    samples: int = 1
    """Answers a question and arm."""
    new_tokens: int = 320
    """Tokens after which an answer is cut."""
    edit_prompt: bool = False
    """Steer the prompt's positions too."""
    model: Literal["base", "distilled"] = "distilled"
    """The model that answers."""
    tokens: int = 65_536
    """Held-out tokens on which firing is counted."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; its self-reflection words count as hesitation."""

    def __post_init__(self) -> None:
        for name in ("candidates", "development", "test", "samples", "tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}: must be at least 1")
        Sampling(new_tokens=self.new_tokens, temperature=self.temperature)
        self.settings()

    def settings(self) -> SteeringSettings:
        """How directions are picked and tested."""
        strengths = tuple(sorted({-abs(s) for s in self.strengths})) if self.suppress else self.strengths
        return SteeringSettings(strengths=strengths, random_directions=self.candidates, seed=self.seed)


def measure_steering(
    config: SteeringConfig, subject: Subject, aims: Mapping[str, Toward] | None = None
) -> SteeringStudy:
    """Run the study; `aims` asks for several categories at once instead of the settings' one."""
    questions = open_questions(config, subject)
    lexicon = categories(subject.pair.tokenizer, load_lexicon(config.lexicon))
    counts = count_firing(subject, lexicon, config.tokens)
    groups = _groups(config, subject, counts, aims or {config.category: config.toward})
    model = subject.pair.base if config.model == "base" else subject.pair.distilled
    return steering_study(
        model,
        subject.crosscoder,
        groups,
        development=questions[: config.development],
        test=questions[config.development : config.development + config.test],
        settings=config.settings(),
        writing=_writing(config, subject, lexicon),
        model_name=config.model,
    )


def count_firing(subject: Subject, lexicon: Sequence[Category], tokens: int) -> FiringCounts:
    """How often latents fire on held-out text, in all and around the categories' words."""
    counts = FiringCounts(lexicon, subject.crosscoder.config.n_latents)
    stream = open_tokens(subject.config, subject.pair, subject.corpus.held_out)
    coded = coded_batches(subject.pair, subject.crosscoder, stream, open_mask(subject.config, subject.pair))
    for batch in first_tokens(coded, tokens):
        counts.add(batch.input_ids, batch.selected, batch.codes)
    return counts


def open_questions(config: SteeringConfig, subject: Subject) -> list[Question]:
    """The questions asked for; raises `ValueError` where there are too few to pick on some and test on others."""
    path = config.questions or PROMPTS / ("embedded.jsonl" if is_embedded(subject.pair) else "everyday.jsonl")
    questions = load_questions(path)
    if len(questions) <= config.development:
        raise ValueError(
            f"{path} holds {len(questions)} questions, and --development {config.development} leaves none to test on:"
            " give more questions or a lower --development"
        )
    return list(islice(questions, config.development + config.test))


def _groups(
    config: SteeringConfig, subject: Subject, counts: FiringCounts, aims: Mapping[str, Toward]
) -> dict[str, Candidates]:
    if config.latents:
        check_latents(subject.crosscoder, config.latents)
        if dead := [latent for latent in config.latents if counts.fired[latent] == 0]:
            raise ValueError(
                f"latent {dead[0]} is dead: it fired on none of {counts.tokens:,} held-out tokens; name one that fires,"
                " such as those of classify_latents.py"
            )
        name = "named latents"
        return {name: Candidates(directions=(config.latents,), toward=config.toward)}
    names = [category.name for category in counts.categories]
    if unknown := [name for name in aims if name not in names]:
        raise ValueError(f"no category is called {unknown[0]!r}: choose from {', '.join(names)}")
    return {
        name: Candidates(
            directions=tuple((latent,) for latent in candidate_latents(counts, names.index(name), config.candidates)),
            toward=toward,
        )
        for name, toward in aims.items()
    }


def _writing(config: SteeringConfig, subject: Subject, lexicon: Sequence[Category]) -> Writing:
    hesitation = next((c for c in lexicon if c.name == "self-reflection"), lexicon[0])
    return Writing(
        layer=subject.crosscoder.config.layers[0],
        hesitation_ids=frozenset(hesitation.token_ids),
        new_tokens=config.new_tokens,
        temperature=config.temperature,
        samples=config.samples,
        edit_prompt=config.edit_prompt,
        seed=config.seed,
    )
