"""What it costs a model's later layers to go on from another model's first layers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import torch
from torch import Tensor

from toolkit.experiments.control import CONTROL, with_control
from toolkit.experiments.opening import models_of
from toolkit.experiments.run import Run
from toolkit.experiments.stitching import StitchingConfig
from toolkit.experiments.stitching.fits import Direction, Fits, Fitted, directions_of
from toolkit.experiments.stitching.found import StitchingFound
from toolkit.experiments.stitching.generation import ask, stitched_answers
from toolkit.experiments.stitching.study import (
    BASE_TO_DISTILLED,
    DISTILLED_TO_BASE,
    RIDGE,
    Cost,
    StitchedCut,
    StitchingStudy,
)
from toolkit.experiments.stitching.texts import StitchingText
from toolkit.harvest.tokens import describe_documents
from toolkit.latents.categories import load_lexicon
from toolkit.models.model_set import ModelSet
from toolkit.stitching.excess import Excess, stitching_excess
from toolkit.stitching.opening import StitchableModels
from toolkit.stitching.stitch import Stitch

ANSWERING = (RIDGE, "trained")
"""Maps through which stitched models write answers."""


def measure(settings: StitchingConfig, opened: ModelSet | StitchableModels | Run) -> StitchingFound:
    """Fit maps at every cut in every direction, and measure on other documents what each costs the receiver.

    The models of a run are read on the run's text. Raises `ValueError` for a cut that a receiver does not have, a
    control of another shape than base, text that ends before there is enough to fit a ridge, and text without two
    tokens in a row.
    """
    given = models_of(opened)
    pair = given if isinstance(given, StitchableModels) else StitchableModels.of(given)
    models = _with_control(settings, pair)
    directions = directions_of(models, settings.cuts)
    asked = {name: ask(settings, pair, directions[name].rest) for name in _main(directions)} if _asks(settings) else {}
    text = StitchingText.open(settings, opened if isinstance(opened, Run) else None, models)
    fits = Fits(settings, models, text, directions)
    fitted = fits.all()
    answers = {}
    for name, asking in asked.items():
        way = directions[name]
        answers[name] = stitched_answers(asking, pair, way.front, way.rest, _answering(fits, fitted, name, way))
    return StitchingFound(
        study=_study(settings, models, text, directions, fits, fitted),
        trained={way: {name: [each] for name, each in found.items()} for way, found in fits.trained.items()},
        answers=answers,
    )


def _asks(settings: StitchingConfig) -> bool:
    return bool(settings.n_problems) and any(name in ANSWERING for name in settings.maps)


def _main(directions: Mapping[str, Direction]) -> list[str]:
    return [name for name in (BASE_TO_DISTILLED, DISTILLED_TO_BASE) if name in directions]


def _answering(fits: Fits, fitted: Sequence[Fitted], name: str, way: Direction) -> dict[str, Stitch]:
    return {
        each.name: fits.stitch(each)
        for each in fitted
        if (each.direction, each.cut, each.fit, each.rank) == (name, way.middle, 0, None) and each.name in ANSWERING
    }


def _with_control(settings: StitchingConfig, pair: StitchableModels) -> StitchableModels:
    """The models with a control, where there is one; it reads the ids of the first model, and stands first."""
    named = with_control(settings.models, settings.where, pair)
    if CONTROL not in named:
        return pair
    tokenizers = {CONTROL: pair.tokenizers[pair.names[0]], **pair.tokenizers}
    return replace(pair, models={CONTROL: named[CONTROL], **pair.models}, tokenizers=tokenizers)


def _study(
    settings: StitchingConfig,
    models: StitchableModels,
    text: StitchingText,
    directions: Mapping[str, Direction],
    fits: Fits,
    fitted: Sequence[Fitted],
) -> StitchingStudy:
    """Measure every map on each receiver's documents, which are the same for all."""
    lexicon, said = load_lexicon(settings.lexicon), ""
    cuts: dict[str, dict[int, StitchedCut]] = {}
    for rest in dict.fromkeys(way.rest for way in directions.values()):
        documents, mask = text.measured(settings.documents, rest, lexicon)
        said = describe_documents(mask.counts)
        own = [each for each in fitted if directions[each.direction].rest == rest]
        excess = stitching_excess(models.models[rest], [fits.stitch(each) for each in own], documents)
        for name, way in directions.items():
            if way.rest == rest:
                cuts[name] = {
                    cut[1]: _cut(name, way, cut, own, excess, models.models[rest].vocab_size) for cut in way.cuts
                }
    return StitchingStudy(
        directions=cuts,
        middle={name: way.middle[1] for name, way in directions.items()},
        left_out=fits.left_out,
        fitted_tokens=tuple(fits.fitted_tokens),
        text=f"{text.run.text.data}, {text.corpus.part}: {said}",
        origin=text.corpus.origin,
    )


def _cut(
    name: str, way: Direction, cut: tuple[int, int], fitted: Sequence[Fitted], excess: Excess, vocabulary: int
) -> StitchedCut:
    here = [place for place, each in enumerate(fitted) if (each.direction, each.cut) == (name, cut)]
    whole = [place for place in here if fitted[place].rank is None]
    names = dict.fromkeys(fitted[place].name for place in whole)
    places = {each: [place for place in whole if fitted[place].name == each] for each in names}
    most = max(map(len, places.values()))
    return StitchedCut(
        front=way.front,
        rest=way.rest,
        front_layer=cut[0],
        cut=cut[1],
        tokens=excess.tokens,
        vocabulary=vocabulary,
        loss=excess.loss,
        maps={each: _cost(excess, at if each != "identity" else at * most) for each, at in places.items()},
        ranks={rank: _cost(excess, [place]) for place in here if (rank := fitted[place].rank) is not None},
        from_identity={
            each: fmean(turned)
            for each, at in places.items()
            if (turned := [value for place in at if (value := fitted[place].turned) is not None])
        },
        explained={each: fmean(fitted[place].explained for place in at) for each, at in places.items()},
    )


def _cost(excess: Excess, places: Sequence[int]) -> Cost:
    index: Tensor = torch.tensor(places)
    return Cost(ce=excess.ce[index], kl=excess.kl[index])
