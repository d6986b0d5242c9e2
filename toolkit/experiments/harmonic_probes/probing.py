"""Fits and tests both kinds of probe, label by label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from toolkit.experiments.control import is_embedded
from toolkit.experiments.harmonic_probes import LABELS, HarmonicProbesConfig
from toolkit.experiments.harmonic_probes.accuracy import (
    Fitted,
    Task,
    Tested,
    accuracy,
    by_token_alone,
    difference,
    guessed,
)
from toolkit.experiments.harmonic_probes.centres import ClassPoints, agreement
from toolkit.experiments.harmonic_probes.labels import LabelledPlaces, LabelledText, planted_text, text_of_file
from toolkit.experiments.harmonic_probes.reading import FrozenStreams, read_streams
from toolkit.experiments.harmonic_probes.results import LabelFound, ProbesFound
from toolkit.experiments.harmonic_probes.sampling import Sample, Split, sampled
from toolkit.experiments.harmonic_probes.words import embedded_words
from toolkit.latents.categories import categories, hesitation, load_lexicon
from toolkit.latents.span_labels import read_labelled_documents
from toolkit.leaving_out import TooFewError, check_any, measurable
from toolkit.models.model.layers import check_layers
from toolkit.models.model_set import ModelSet
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, PAPER_DEFAULTS
from toolkit.statistics.estimates import Estimate
from toolkit.tracking import track
from toolkit.training.streams import open_mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Probed:
    """What probes find, and the points that steer."""

    found: ProbesFound
    points: Mapping[str, Mapping[str, ClassPoints]]
    """By label, by model, at the shown layer."""


def probe(settings: HarmonicProbesConfig, models: ModelSet) -> Probed:
    """Fit and test both kinds of probe for every label, layer and model.

    Raises `ValueError` for a layer out of range, for labels that the text does not have, for too few documents, and
    where no label has two classes with enough tokens.
    """
    layers, shown = chosen_layers(settings, models)
    text = open_labelled(settings, models)
    generator = torch.Generator().manual_seed(settings.seed)
    split = Split.random(len(text.rows), settings.draws, generator)
    samples, left_out = measurable(
        text.labels, lambda name: sampled(name, text.labels[name], split, settings.tokens, generator)
    )
    check_any(samples, left_out)
    mask = open_mask(EMBEDDED_DEFAULTS.mask, models)
    read = read_streams(models, text.rows, samples, split, layers=layers, mask=mask)
    words, words_left_out = embedded_words(models, settings.seed)
    labels, not_fitted = measurable(
        track(read, "fitting probes", "labels", total=len(read)),
        lambda name: _label(name, read[name], samples[name], settings, shown),
    )
    check_any(labels, not_fitted)
    found = ProbesFound(
        labels={name: each for name, (each, _) in labels.items()},
        left_out=left_out | not_fitted | words_left_out,
        words=words,
        layer=shown,
        models=models.names,
        draws=settings.draws,
    )
    return Probed(found=found, points={name: points for name, (_, points) in labels.items()})


def chosen_layers(settings: HarmonicProbesConfig, models: ModelSet) -> tuple[tuple[int, ...], int]:
    """The layers that are read, and the one whose centres are shown; raises `ValueError` for one out of range."""
    layers = tuple(check_layers(settings.layers or range(models.n_layers), models.n_layers))
    if settings.layer is not None:
        (shown,) = check_layers([settings.layer], models.n_layers)
    else:
        shown = models.layers[0] if models.layers[0] in layers else layers[len(layers) // 2]
    return layers, shown


def open_labelled(settings: HarmonicProbesConfig, models: ModelSet) -> LabelledText:
    """The documents that are asked for, with the labels that are asked for of those known.

    Raises `ValueError` for models of which nothing is known without a file, and for a label that is not known.
    """
    lexicon = categories(models.tokenizer, load_lexicon(settings.lexicon))
    ids = hesitation(models.tokenizer, lexicon).token_ids
    defaults = EMBEDDED_DEFAULTS if is_embedded(models) else PAPER_DEFAULTS
    row_length = min(defaults.text.row_length, models.context)
    if settings.spans is not None:
        labelled = read_labelled_documents(settings.spans).first(settings.documents)
        text = text_of_file(models.tokenizer, labelled, hesitation=ids, row_length=row_length)
    elif is_embedded(models):
        text = planted_text(models.tokenizer, settings.documents, hesitation=ids, row_length=row_length)
    else:
        raise ValueError(
            "nothing is known to be planted in these models: give labelled documents with --spans (.jsonl with text"
            " and spans, or annotated reasoning traces)"
        )
    if unknown := [name for name in settings.labels if name not in text.labels]:
        raise ValueError(f"--labels {unknown[0]}: not known of this text: choose from {', '.join(text.labels)}")
    asked = settings.labels or [name for name in LABELS if name in text.labels]
    return LabelledText(rows=text.rows, labels={name: text.labels[name] for name in asked})


def _label(
    name: str, streams: FrozenStreams, sample: Sample, settings: HarmonicProbesConfig, shown: int
) -> tuple[LabelFound, dict[str, ClassPoints]]:
    generator = torch.Generator().manual_seed(settings.seed)
    by_layer: dict[int, dict[str, Tested]] = {}
    kept: dict[str, tuple[Task, Sequence[Fitted]]] = {}
    cells = [(layer, model) for layer in streams.layers for model in streams.streams]
    for layer, model in track(cells, "layers", "layers and models"):
        task = Task.of(streams, model, layer, settings.exponent)
        probes = () if task.tells_nothing else task.each_draw()
        by_layer.setdefault(layer, {})[model] = task.tested(probes) if probes else guessed(streams)
        if layer == shown:
            kept[model] = task, probes
    if not all(probes for _, probes in kept.values()):
        raise TooFewError(f"{name}: all activations are alike at the input of layer {shown}: choose another --layer")
    layers = {layer: {model: each.compared() for model, each in of.items()} for layer, of in by_layer.items()}
    points = {model: ClassPoints.of(task, probes) for model, (task, probes) in kept.items()}
    first, second, *_ = points.values()
    found = LabelFound(
        classes=dict(zip(streams.places.classes, streams.places.counts(), strict=True)),
        left_out=sample.left_out,
        documents=len(streams.places.document.unique()),
        of_documents=_is_of_documents(streams.places),
        matched=sample.matched,
        token_alone=accuracy(by_token_alone(streams), streams),
        layers=layers,
        between_models={layer: _second_less_first(streams, each) for layer, each in by_layer.items()},
        shuffled={model: task.on_shuffled_labels(probes, generator) for model, (task, probes) in kept.items()},
        data={model: task.with_fewer(layers[shown][model], generator) for model, (task, _) in kept.items()},
        centres={model: each.found() for model, each in points.items()},
        agreement=agreement(first, second, generator),
    )
    return found, points


def _second_less_first(streams: FrozenStreams, tested: Mapping[str, Tested]) -> Estimate:
    first, second, *_ = (each.right["logistic"] for each in tested.values())
    return difference(second - first, streams)


def _is_of_documents(places: LabelledPlaces) -> bool:
    """Whether no document has tokens of two classes."""
    pairs = torch.stack([places.document, places.label]).unique(dim=1)
    return pairs.shape[1] == len(places.document.unique())
