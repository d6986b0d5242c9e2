"""Hesitation latents of a run's adapter, chosen on text, and what they do to answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from toolkit.adapters.modes import Latent
from toolkit.answers.answering import Writing
from toolkit.answers.questions import Question, instruction_to, load_questions, shipped_questions
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.control import is_embedded
from toolkit.experiments.hesitation import HesitationConfig
from toolkit.experiments.hesitation.choosing import HesitationLatents, choose_latents
from toolkit.experiments.hesitation.interventions import Intervened, Intervention, Latents, draw_arms, intervene
from toolkit.experiments.hesitation.on_text import OnText, predict_without
from toolkit.latents.adapter_behaviours import span_aurocs
from toolkit.latents.behaviours import FoundBehaviour, planted_behaviours
from toolkit.latents.categories import Category, expand, hesitation, load_lexicon
from toolkit.latents.choices import HESITATION
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.model.unembedding import direction_tokens

DEVELOPMENT = 32
"""Questions that come first in a file, and that are left to other experiments to pick what they test."""
PLANTED_DOCUMENTS = 300
PROMOTED = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """The latents, and the answers in all arms."""

    hesitation: Category
    latents: HesitationLatents
    arms: Mapping[str, Sequence[Latents]]
    """The draws of each arm's latents."""
    left_out: Mapping[str, str]
    """Why an arm has no latents, by name."""
    questions: tuple[Question, ...]
    interventions: Mapping[Intervention, Intervened]
    on_text: OnText | None
    """What taking latents out does to predictions; None where the text ends with what latents were chosen on."""
    promoted: Mapping[Latent, tuple[str, ...]]
    """Tokens that a hesitation latent's decoder row promotes most."""
    planted: FoundBehaviour | None
    """How well hesitation latents tell the planted spans of self-reflection; None where no spans are planted, and where
    there is no hesitation latent."""


def measure(settings: HesitationConfig, run: AdapterRun) -> Measured:
    """Choose latents on held-out text, and answer questions without them, with them, and with them transferred.

    Raises `ValueError` where fewer than two questions are left, and `TooFewError` as `choose_latents` does, and where
    no hesitation word is one token.
    """
    questions = open_questions(settings, run)
    models = run.models
    word = _hesitation(settings, run)
    latents = choose_latents(settings, run, word)
    arms, left_out = draw_arms(latents, settings)
    writing = Writing(
        hesitation_ids=frozenset(word.token_ids),
        new_tokens=settings.new_tokens,
        temperature=settings.temperature,
        samples=settings.samples,
        instruction=instruction_to(embedded=is_embedded(models)),
        seed=settings.seed,
    )
    return Measured(
        hesitation=word,
        latents=latents,
        arms=arms,
        left_out=left_out,
        questions=tuple(questions),
        interventions=intervene(models, arms, questions, writing, transfer=settings.transfer),
        on_text=predict_without(run, arms, word.token_ids, read=latents.tokens, tokens=settings.tokens // 2),
        promoted=_promoted(run, latents.both),
        planted=_planted(run, latents.both, settings.seed),
    )


def open_questions(settings: HesitationConfig, run: AdapterRun) -> list[Question]:
    """The questions behind the first 32, perhaps fewer than asked for; raises `ValueError` for fewer than two."""
    path = settings.questions or shipped_questions(embedded=is_embedded(run.models))
    questions = load_questions(path)
    rest = questions[DEVELOPMENT:]
    if len(rest) < 2:
        raise ValueError(
            f"{path} holds {len(questions)} questions, and the first {DEVELOPMENT} are left to other experiments, which"
            " pick what they test on them: give two more questions at least"
        )
    return rest[: settings.test]


def _hesitation(settings: HesitationConfig, run: AdapterRun) -> Category:
    """The words that count; raises `TooFewError` where a lexicon names some, and none is a single token."""
    lexicon = expand(run.models.tokenizer, load_lexicon(settings.lexicon))
    for category in lexicon:
        if category.name == HESITATION:
            category.check_tokens()
    return hesitation(run.models.tokenizer, lexicon)


def _promoted(run: AdapterRun, latents: Sequence[Latent]) -> dict[Latent, tuple[str, ...]]:
    """The tokens that each latent's row promotes most by the logit lens, strongest first."""
    if not latents:
        return {}
    models = run.models
    rows = torch.stack([models.transcoders[layer].W_dec[latent].detach() for layer, latent in latents])
    together = max(1, LARGEST_LOGITS // models.distilled.vocab_size)
    vocabulary = len(models.tokenizer)
    _, promoted, _, _ = direction_tokens(
        models.distilled, rows, vocabulary=vocabulary, tokens=min(PROMOTED, vocabulary), together=together
    )
    pieces = [models.tokenizer.batch_decode([[token] for token in row]) for row in promoted.tolist()]
    return {latent: tuple(row) for latent, row in zip(latents, pieces, strict=True)}


def _planted(run: AdapterRun, latents: Sequence[Latent], seed: int) -> FoundBehaviour | None:
    if not latents or not is_embedded(run.models):
        return None
    found = span_aurocs(run.models, planted_behaviours(PLANTED_DOCUMENTS), latents=latents, seed=seed)
    return next((each for each in found if each.behaviour == HESITATION), None)
