"""Ablation with its controls: a category's latents against as many others, on text that did not choose them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product

import torch

from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.experiments.ablation import AblationConfig, AblationSettings
from toolkit.experiments.ablation.arms import Dictionary, choose_for_all
from toolkit.experiments.ablation.study import AblationStudy, CategoryAblation, DictionaryAblation
from toolkit.experiments.run import Run
from toolkit.harvest.activations import read_batches
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.interventions.ablation import Arm, Effects, ReadTargets, ablation_effects
from toolkit.interventions.targets import OTHER, Targets, TargetSearch
from toolkit.latents.categories import Category, categories, load_lexicon
from toolkit.latents.choices import Method
from toolkit.latents.firing import FiringCounts
from toolkit.leaving_out import TooFewError, check_any
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.model_set import ModelSet
from toolkit.tracking import track
from toolkit.training.streams import fitting_tokens

Key = tuple[int, str, str, str]
"""Seed of the crosscoder, category whose latents are out, share, arm."""


def measure(settings: AblationConfig, run: Run) -> AblationStudy:
    """Run the study on the held-out text of a run, with its crosscoders of all seeds, and on the null pair.

    Latents that are given belong to one crosscoder, and the paper had one: then the run's own is measured alone, and
    no null pair. Raises `TooFewError` as `ablation_study` does.
    """
    study = _study_of(settings, run)
    if run.null is None or settings.paper or settings.latents:
        return study
    try:
        return replace(study, null=_study_of(replace(settings, shares=(settings.reference,)), run.null))
    except TooFewError as error:
        return replace(study, null_missing=str(error))


def _study_of(settings: AblationConfig, run: Run) -> AblationStudy:
    models = run.models
    lexicon = categories(models.tokenizer, load_lexicon(settings.lexicon))
    crosscoders = {run.settings.seed: run.crosscoder} if settings.paper or settings.latents else run.crosscoders
    # Whole logits of every other row are held at once, so with a large vocabulary a batch has few rows.
    batch_tokens = fitting_tokens(run.reading.text, LARGEST_LOGITS, models.vocab_size, rows=2)
    batches = islice(run.tokens(batch_tokens=batch_tokens), max(1, settings.tokens // batch_tokens))
    return ablation_study(models, crosscoders, batches, run.open_mask(), lexicon, settings, run.layer)


def ablation_study(
    models: ModelSet,
    crosscoders: Mapping[int, Crosscoder],
    batches: Iterable[TokenBatch],
    mask: TokenMask,
    lexicon: Sequence[Category],
    settings: AblationSettings,
    layer: int | None = None,
) -> AblationStudy:
    """Choose latents of each crosscoder on the even rows of every batch, test them on the odd ones.

    All crosscoders, by seed, are measured on the same words. `layer` is the site of the edits, for a crosscoder of
    several. A category whose words are too rare in the text to choose latents or to test them is left out, with the
    reason; raises `TooFewError` where none is left.
    """
    if settings.latents:
        for crosscoder in crosscoders.values():
            check_latents(settings.latents, crosscoder.config.n_latents)
    counts, targets, left_out = _read(models, crosscoders, batches, mask, lexicon, settings)
    dictionaries = {
        seed: Dictionary(crosscoder=each, counts=counts[seed], settings=settings) for seed, each in crosscoders.items()
    }
    by_name = {category.name: category for category in lexicon if category.name in targets}
    chosen, without = choose_for_all(dictionaries, list(by_name))
    left_out |= without
    check_any(chosen, left_out)
    words = {name: targets[name] for name in [*chosen, OTHER] if name in targets}
    seeds = {
        seed: DictionaryAblation(categories={}, off_target={}, counts=one.counts, alive=one.alive, nrn=one.nrn)
        for seed, one in dictionaries.items()
    }
    for name, targets_of in track(words.items(), "taking latents out", "words"):
        read = ReadTargets.read(models, targets_of, settings.positions)
        own = {seed: one.arms(chosen[name][seed], read) for seed, one in dictionaries.items() if name in chosen}
        asked = {
            (seed, edited, settings.reference_name, "chosen"): [one.arm(of_seeds[seed][settings.reference_name])]
            for seed, one in dictionaries.items()
            for edited, of_seeds in chosen.items()
        } | {(seed, name, *key): arms for seed, (by_share, _) in own.items() for key, arms in by_share.items()}
        found = _measure(models, read, asked, settings.method(layer))
        for seed, edited in product(seeds, chosen):
            seeds[seed].off_target[edited, name] = found[seed, edited, settings.reference_name, "chosen"].mean()
        for seed, (by_share, matches) in own.items():
            seeds[seed].categories[name] = CategoryAblation(
                category=by_name[name],
                targets=targets_of,
                latents={share: each.tolist() for share, each in chosen[name][seed].items()},
                draws={key: found[seed, name, *key] for key in by_share},
                matches=matches,
            )
    return AblationStudy(models=models.names, seeds=seeds, words=words, left_out=left_out)


@torch.no_grad()
def _read(
    models: ModelSet,
    crosscoders: Mapping[int, Crosscoder],
    batches: Iterable[TokenBatch],
    mask: TokenMask,
    lexicon: Sequence[Category],
    settings: AblationSettings,
) -> tuple[dict[int, FiringCounts], dict[str, Targets], dict[str, str]]:
    """Firing on the even rows, words to predict on the odd ones, and by name why some words are left out.

    The last model's probabilities say which words are undecided.
    """
    counts = {seed: FiringCounts(lexicon, each.config.n_latents) for seed, each in crosscoders.items()}
    search, last = TargetSearch(lexicon, settings.undecided), models.models[models.names[-1]]
    batches = list(batches)
    choosing = (TokenBatch(batch.input_ids[::2], batch.attention_mask[::2]) for batch in batches)
    each_read = read_batches(models, choosing, mask)
    for read in track(each_read, "counting firings", "batches", total=len(batches)):
        for seed, crosscoder in crosscoders.items():
            codes = crosscoder.encode(read.activations.to(crosscoder.b_dec))
            counts[seed].add(read.batch.input_ids, read.selected, codes)
    testing = (TokenBatch(batch.input_ids[1::2], batch.attention_mask[1::2]) for batch in batches)
    for rows in track(testing, "looking for words", "batches", total=len(batches)):
        if len(rows.input_ids):
            search.add(last, rows, mask.tokens(rows))
    return counts, *search.draw(settings.targets, torch.Generator().manual_seed(settings.seed))


def _measure(
    models: ModelSet, read: ReadTargets, asked: Mapping[Key, Sequence[Arm]], method: Method
) -> dict[Key, Effects]:
    """The effects of all draws, by what they were asked for; arms that take out the same are measured once.

    Claims are about the last model, so controls are measured in that one alone.
    """
    *first, last = models.names
    chosen = {arm.key: arm for key, arms in asked.items() if key[-1] == "chosen" for arm in arms}
    every = chosen | {arm.key: arm for arms in asked.values() for arm in arms}
    number = {key: index for index, key in enumerate(every)}
    in_last = ablation_effects(models, read, list(every.values()), method, edited=[last])
    in_first = ablation_effects(models, read, list(chosen.values()), method, edited=first)
    found: dict[Key, Effects] = {}
    for key, arms in asked.items():
        which = [number[arm.key] for arm in arms]
        found[key] = in_first.of(which).beside(in_last.of(which)) if key[-1] == "chosen" else in_last.of(which)
    return found
