"""Labels of latents, how well their explanations predict where the latents fire, and what else is known of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from toolkit.annotation.evidence import Evidence, Name
from toolkit.annotation.gathering import Gathered, gather
from toolkit.annotation.label_files import LabelFile, read_labels
from toolkit.annotation.labels import Annotator, Category, Label, Unscored
from toolkit.annotation.markers import MarkerCounts
from toolkit.annotation.reply_cache import REPLIES
from toolkit.annotation.rules import RulesAnnotator
from toolkit.annotation.scoring import Scores, score
from toolkit.annotation.server import ServerAnnotator
from toolkit.annotation.server_costs import Estimate
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.latent_annotation import LatentAnnotationConfig
from toolkit.experiments.latent_annotation.choosing import choose
from toolkit.experiments.latent_annotation.dictionaries import Dictionary, open_dictionary
from toolkit.experiments.latent_annotation.planted import SpanTruth, open_labelled, span_truth
from toolkit.experiments.latent_annotation.results import Annotated
from toolkit.experiments.run import Run
from toolkit.latents.categories import categories, load_lexicon
from toolkit.latents.firing import FiringCounts
from toolkit.leaving_out import TooFewError
from toolkit.models.places.ndif.in_flight import in_flight
from toolkit.models.text.token_texts import vocabulary_texts
from toolkit.tracking import say, track


def measure(settings: LatentAnnotationConfig, opened: Run | AdapterRun) -> Annotated:
    """Choose latents, gather passages of each, label them, and test the labels.

    Raises `ValueError` for a latent or a category that does not exist, files that cannot be read or are of other
    latents, and a server that does not answer, `TooFewError` where no latent has enough passages.
    """
    dictionary = open_dictionary(opened)
    compared = _read_compared(settings, dictionary)
    for name in settings.latents:
        dictionary.number(name)  # before anything takes time
    labelled, server = open_labelled(settings, opened), _open_server(settings)
    counts, background = _count(settings, dictionary)
    chosen = choose(settings, dictionary, counts)
    truth = span_truth(opened, labelled) if labelled and isinstance(opened, Run) else SpanTruth()
    behaviours = truth.behaviours if not settings.latents and settings.category is None else ()
    gathered = gather(
        dictionary.coded(settings.tokens),
        dictionary.subjects([*dict.fromkeys([*chosen.numbers, *(each.latent for each in behaviours)])]),
        opened.models.tokenizer,
        categories=counts.categories,
        seed=settings.seed,
    )
    _check_enough(gathered)
    rules = RulesAnnotator(background=background)
    work = partial(_annotate, evidence=gathered.evidence, settings=settings)
    if server:
        say(_costs(server.estimate(work), settings))
    given, scores = work(server or replace(rules, spans=truth.categories))
    labels = {name: label for name, label in given.items() if isinstance(label, Label)}
    if not labels:
        raise TooFewError(
            f"{settings.server.model} gave no label that can be used, of {len(given):,} asked for:"
            f" {next(iter(scores.unscored.values()))}; give another --model, or more --reply-tokens"
        )
    blind = labels if server else {name: rules.explain(evidence) for name, evidence in gathered.evidence.items()}
    return Annotated(
        annotator=server.name if server else rules.name,
        dictionary=dictionary,
        chosen=chosen,
        gathered=gathered,
        labels=labels,
        scores=scores,
        behaviours=behaviours,
        blind={name: label.category for name, label in blind.items()},
        compared=compared,
        usage=server.usage if server else None,
    )


def _check_enough(gathered: Gathered) -> None:
    """Raise `TooFewError` where no latent has enough passages; one reason says what to do."""
    if not gathered.evidence:
        others = len(gathered.unscored) - 1
        raise TooFewError(next(iter(gathered.unscored.values())) + (f"; {others} more have too few" if others else ""))


def _read_compared(settings: LatentAnnotationConfig, dictionary: Dictionary) -> list[LabelFile]:
    """What other annotators said; those of one name are told apart by their files."""
    read = [(path, read_labels(path, dictionary.hash)) for path in settings.compare]
    of_name = Counter(each.annotator for _, each in read)
    return [
        each if of_name[each.annotator] == 1 else replace(each, annotator=f"{each.annotator} ({path})")
        for path, each in read
    ]


def _open_server(settings: LatentAnnotationConfig) -> ServerAnnotator | None:
    """The server's annotator, where one is asked for, once the server has answered."""
    if settings.server.base_url is None:
        return None
    server = ServerAnnotator(settings.server, settings.output.out / REPLIES.changing[0])
    server.check()
    return server


def _count(settings: LatentAnnotationConfig, dictionary: Dictionary) -> tuple[FiringCounts, dict[Category, float]]:
    """How often latents fire, and the share of all tokens that words of each category of reasoning govern."""
    tokenizer = dictionary.run.models.tokenizer
    words = categories(tokenizer, load_lexicon(settings.lexicon))
    counts = FiringCounts(words, dictionary.n_latents)
    pieces = vocabulary_texts(tokenizer)
    governed = MarkerCounts()
    for coded in dictionary.coded(settings.tokens):
        batch = coded.batch
        counts.add(batch.input_ids, coded.selected, coded.codes)
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
            governed.add([pieces[token] for token in ids[mask.bool()].tolist()])
    return counts, governed.shares()


def _annotate(
    annotator: Annotator, evidence: Mapping[Name, Evidence], settings: LatentAnnotationConfig
) -> tuple[dict[Name, Label | Unscored], Scores]:
    # Replies are taken in order: while the oldest is waited for, twice as many threads keep the server busy.
    threads = 2 * settings.server.requests if settings.server.base_url else 1
    labels = _explain(annotator, evidence, threads)
    return labels, score(annotator, evidence, labels, seed=settings.seed, threads=threads)


def _explain(annotator: Annotator, evidence: Mapping[Name, Evidence], threads: int) -> dict[Name, Label | Unscored]:
    """A label of each latent, so many at the same time."""
    labels = in_flight(annotator.explain, evidence.values(), at_once=threads)
    return dict(zip(evidence, track(labels, "labelling", "latents", total=len(evidence)), strict=True))


def _costs(expected: Estimate, settings: LatentAnnotationConfig) -> str:
    """What will be asked, in a line."""
    server = settings.server
    said = (
        f"{server.model} will be asked about {expected.requests:,} times, and {expected.kept:,} replies are there from"
        f" before: about {expected.tokens_in:,} tokens of prompts and {expected.tokens_out:,} of replies, at most"
        f" {expected.most_tokens_out:,}"
    )
    if server.price_in is None or server.price_out is None:
        return f"{said}; with --price-in and --price-out also what it costs"
    return f"{said}; about {expected.cost(server.price_in, server.price_out):.2f} at these prices"
