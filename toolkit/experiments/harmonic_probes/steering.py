"""Do answers become longer as their stream moves toward a class centre? Against other directions, picked and at random.

All arms answer the same questions with the same seeds. The random direction to beat is the best of several on
development questions; the others are what the probes of each draw give, and nothing of them is picked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.answers.answer_tables import Answers
from toolkit.answers.answering import Answerer, Writing, free_rows, write_each
from toolkit.answers.questions import Question, instruction_to
from toolkit.dictionaries.crosscoder import check_latents
from toolkit.experiments.control import is_embedded
from toolkit.experiments.harmonic_probes import HarmonicProbesConfig
from toolkit.experiments.harmonic_probes.centres import ClassPoints
from toolkit.experiments.harmonic_probes.ways import CENTRE, OF_DRAWS, RANDOM, Site, TwoClasses, Way
from toolkit.experiments.opening import crosscoder_of
from toolkit.experiments.steering.directions import AnswersAlong, Slopes, random_directions, steepest
from toolkit.experiments.steering.questions import open_questions
from toolkit.interventions.edits import stream_index, unit_row
from toolkit.latents.categories import categories, hesitation, load_lexicon
from toolkit.models.model.edits import Edit
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.models.text.rows import padded
from toolkit.settings.findings import SHIPPED

SELF_REFLECTION = 623
"""Latent of the shipped crosscoder that steers beside the centres."""
UNSTEERED: tuple[Way, float] = ((RANDOM, 0), 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What is needed to steer but for the centres; opened first, so that mistakes are told before anything is read."""

    model: TracedModel
    layer: int
    development: Sequence[Question]
    test: Sequence[Question]
    writing: Writing
    latent: Mapping[str, Float[Tensor, " d_model"]]
    """The latent's name and its direction; empty where none steers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Along:
    """Answers to the test questions along one way."""

    answers: Sequence[Answers]
    """[strength, question] for each draw; one where the way is of no draw."""
    strengths: tuple[float, ...]
    """Turned, where a control points the wanted way only when it is subtracted."""
    cosine: float
    """Of its direction with that from centre to centre, over draws; NaN for moves to a point."""

    @property
    def slope(self) -> Float[Tensor, "draw question"]:
        """Rise of the log length a unit of strength."""
        return torch.stack([each.slope(self.strengths) for each in self.answers])


@dataclass(frozen=True, kw_only=True, eq=False)
class SteeredToCentre:
    """Answers along every way, the best random direction last."""

    label: str
    away: str
    toward: str
    layer: int
    norm: float
    """Mean norm of the stream, the unit of strengths."""
    distances: tuple[float, float]
    """Of the stream to the centres of both classes, in mean norms, averaged over draws."""
    strengths: tuple[float, ...]
    unsteered: Answers
    """[1, question]"""
    ways: Mapping[str, Along]
    random: Slopes[Way]
    """Of all random directions on the development questions."""
    questions: Sequence[Question]
    development_questions: int


def asked_steering(settings: HarmonicProbesConfig, models: ModelSet, layer: int) -> Asked | None:
    """Open the questions and the latent; None where steering is left out.

    Raises `ValueError` for a model that does not exist, too few questions, and a latent that does not exist or was not
    trained on the layer.
    """
    asked = settings.steering
    if not asked.asked:
        return None
    development, test = open_questions(asked, models)
    lexicon = categories(models.tokenizer, load_lexicon(settings.lexicon))
    return Asked(
        model=models.models[asked.model],
        layer=layer,
        development=development,
        test=test,
        writing=Writing(
            hesitation_ids=frozenset(hesitation(models.tokenizer, lexicon).token_ids),
            new_tokens=asked.new_tokens,
            temperature=asked.temperature,
            instruction=instruction_to(embedded=is_embedded(models)),
            seed=settings.seed,
        ),
        latent=_latent(settings, models, layer),
    )


def _latent(settings: HarmonicProbesConfig, models: ModelSet, layer: int) -> dict[str, Tensor]:
    asked = settings.steering
    if asked.latent is None and not is_embedded(models):
        return {}
    if asked.crosscoder is None and not is_embedded(models):
        raise ValueError(f"--latent {asked.latent}: give --crosscoder the folder of the crosscoder that it is of")
    crosscoder = crosscoder_of(models, asked.crosscoder or SHIPPED, other_models=asked.other_models)
    if asked.latent is None and layer not in crosscoder.config.layers:
        return {}
    latent = SELF_REFLECTION if asked.latent is None else asked.latent
    check_latents((latent,), crosscoder.config.n_latents)
    row = unit_row(crosscoder, (latent,), stream_index(crosscoder, asked.model, layer))
    return {f"latent {latent}": row.detach().cpu()}


def steered_to_centre(settings: HarmonicProbesConfig, asked: Asked, points: ClassPoints) -> SteeredToCentre:
    """Pick the random direction to beat on the development questions, and write all answers to the test questions."""
    steering, strengths = settings.steering, tuple(sorted(settings.steering.strengths))
    label, model = steering.toward, asked.model
    # Chance of its own: with the test questions' seeds, a direction would be picked by the noise it is tested with.
    developing = replace(asked.writing, seed=asked.writing.seed + 1)
    site = Site(layer=asked.layer, streams=own_streams(model, asked.layer, asked.development, developing))
    classes = TwoClasses.of(label, points)
    random = random_directions(steering.random, model.d_model, settings.seed)

    def along_random(number: int, strength: float) -> Edit:
        return site.along(random[number], strength)

    numbers = range(len(random))
    edits = {((RANDOM, number), at): along_random(number, at) for number in numbers for at in strengths}
    slopes = AnswersAlong.of(model, edits, asked.development, developing).slopes(strengths)
    (_, best), turn = steepest(slopes, 1.0)
    wanted = {UNSTEERED: along_random(0, 0.0)} | classes.edits(site, strengths)
    wanted |= {((name, 0), at): site.along(row, at) for name, row in asked.latent.items() for at in strengths}
    wanted |= {((RANDOM, best), turn * at): along_random(best, turn * at) for at in strengths}
    written = AnswersAlong.of(model, wanted, asked.test, asked.writing)

    def along(name: str, directions: Tensor | None, places: Sequence[Way], turn: float = 1.0) -> Along:
        turned = tuple(turn * at for at in strengths)
        cosine = torch.nan if directions is None else _cosine(turn * directions, classes.directions[CENTRE])
        return Along(answers=[written.at(place, turned) for place in places], strengths=strengths, cosine=cosine)

    of_draws = {
        way: along(way, classes.directions.get(way), [(way, draw) for draw in range(classes.draws)]) for way in OF_DRAWS
    }
    of_latent = {name: along(name, row[None], [(name, 0)]) for name, row in asked.latent.items()}
    return SteeredToCentre(
        label=label,
        away=classes.away,
        toward=classes.toward,
        layer=asked.layer,
        norm=site.norm,
        distances=_distances(site, classes),
        strengths=strengths,
        unsteered=written.at(UNSTEERED[0], UNSTEERED[1:]),
        ways=of_draws | of_latent | {RANDOM: along(RANDOM, random[best][None], [(RANDOM, best)], turn)},
        random=slopes,
        questions=asked.test,
        development_questions=len(asked.development),
    )


def own_streams(
    model: TracedModel, layer: int, questions: Sequence[Question], writing: Writing
) -> Float[Tensor, "position d_model"]:
    """Return the input of a layer at every position of the model's own answers, unedited."""
    arms = {"": Answerer(model)}
    written = list(write_each(arms, free_rows(arms, questions, writing), writing.sampling))
    ids, mask = padded([[*row.prompt, *answer.token_ids] for row, answer in written])
    begins = torch.tensor([len(row.prompt) for row, _ in written])
    inside = mask.bool() & (torch.arange(ids.shape[1]) >= begins[:, None])
    return model.selected(ids, mask, inside, [layer])[:, 0].float().cpu()


def _distances(site: Site, classes: TwoClasses) -> tuple[float, float]:
    away, toward = (sum(map(site.distance, points)) / classes.draws for points in classes.centres.unbind(dim=1))
    return away, toward


def _cosine(first: Tensor, second: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(first.double(), second.double(), dim=-1).mean())
