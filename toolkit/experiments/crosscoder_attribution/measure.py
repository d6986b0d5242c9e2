"""Finds words, the latents that lead to them on half of the documents, and tests these latents on the other half."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from toolkit.attribution.crosscoder_paths import Paths
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.crosscoder_attribution import CrosscoderAttributionConfig
from toolkit.experiments.crosscoder_attribution.study import CONTROLS, METHODS, LatentPaths, PathStudy
from toolkit.experiments.run import Run
from toolkit.geometry.decoder_norms import nrn, rows_by_model
from toolkit.interventions.ablation import Arm, ReadTargets
from toolkit.interventions.edits import stream_index
from toolkit.interventions.targets import Targets, TargetSearch
from toolkit.latents.categories import categories, load_lexicon
from toolkit.latents.selection import random_latents
from toolkit.leaving_out import TooFewError
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.tracking import track
from toolkit.training.streams import fitting_tokens


def measure(settings: CrosscoderAttributionConfig, run: Run) -> PathStudy:
    """Measure each of the run's crosscoders on the same words of its held-out text.

    Raises `ValueError` for an unknown category, and `TooFewError` where words or latents are too rare.
    """
    targets = find_words(settings, run)
    halves = [_half(targets, targets.documents % 2 == number, settings) for number in (0, 1)]
    choosing, testing = (ReadTargets.read(run.models, half, settings.positions) for half in halves)
    return PathStudy(
        category=settings.category,
        model=run.models.names[-1],
        documents=halves[1].documents,
        found=targets.found,
        seeds={
            seed: latent_paths(settings, run, crosscoder, choosing, testing)
            for seed, crosscoder in track(run.crosscoders.items(), "crosscoders", "crosscoders")
        },
    )


@torch.no_grad()
def find_words(settings: CrosscoderAttributionConfig, run: Run) -> Targets:
    """Draw positions before which the category's words are undecided."""
    lexicon: Mapping[str, tuple[str, ...]] = load_lexicon(settings.lexicon)
    if settings.category not in lexicon:
        raise ValueError(f"category {settings.category!r} is not in the lexicon: choose from {', '.join(lexicon)}")
    chosen = categories(run.models.tokenizer, {settings.category: lexicon[settings.category]})
    search, mask = TargetSearch(chosen, settings.undecided), run.open_mask()
    last = run.models.models[run.models.names[-1]]
    batch_tokens = fitting_tokens(run.reading.text, LARGEST_LOGITS, run.models.vocab_size)
    batches = islice(run.tokens(batch_tokens=batch_tokens), max(1, settings.tokens // batch_tokens))
    for batch in track(batches, "looking for words", "batches"):
        search.add(last, batch, mask.tokens(batch))
    drawn, left_out = search.draw(settings.targets, torch.Generator().manual_seed(settings.seed))
    if settings.category not in drawn:
        raise TooFewError(left_out[settings.category])
    return drawn[settings.category]


def _half(targets: Targets, kept: Tensor, settings: CrosscoderAttributionConfig) -> Targets:
    if int(kept.sum()) < 2:
        raise TooFewError(
            f"{settings.category}: of {len(kept)} positions one half of the documents has {int(kept.sum())}, and at"
            " least two are needed: read more text, or widen undecided"
        )
    numbers = kept.nonzero()[:, 0]
    return replace(
        targets,
        prefixes=tuple(targets.prefixes[number] for number in numbers.tolist()),
        target_ids=targets.target_ids[numbers],
        documents=targets.documents[numbers],
    )


def latent_paths(
    settings: CrosscoderAttributionConfig,
    run: Run,
    crosscoder: Crosscoder,
    choosing: ReadTargets,
    testing: ReadTargets,
) -> LatentPaths:
    """Choose the latents of the largest mean effect on half of the words, and test them on the other half.

    Random latents are drawn among those that fire before the words that choose.
    """
    name, generator = run.models.names[-1], torch.Generator().manual_seed(settings.seed)
    stream = stream_index(crosscoder, name, run.layer)
    chooser, tester = (
        Paths(model=run.models.models[name], crosscoder=crosscoder, stream=stream, read=read)
        for read in (choosing, testing)
    )
    effects = chooser.at_code()
    fired = (effects != 0).any(dim=0)
    chosen = effects.mean(dim=0).argsort(descending=True, stable=True)[: settings.top]
    if int(fired.sum()) < 2 * len(chosen):
        raise TooFewError(
            f"{int(fired.sum())} latents fire before the words of {settings.category}, and {2 * len(chosen)} are needed"
            f" to test {len(chosen)} beside as many random ones: lower top"
        )
    latents = torch.cat([chosen, random_latents(chosen, fired, generator)])
    at_code = tester.at_code()
    together = [Arm(crosscoder=crosscoder, latents=chosen)]
    random = [_arm(crosscoder, random_latents(chosen, fired, generator)) for _ in range(settings.control_draws)]
    seeds = torch.randint(2**31, (settings.control_draws,), generator=generator).tolist()
    directions = [Arm(crosscoder=crosscoder, latents=chosen, direction=seed) for seed in seeds]
    singles = [_arm(crosscoder, latents[number, None]) for number in range(len(latents))]
    falls = tester.ablated([*singles, *together, *random, *directions])
    each, all_of_them, *draws = falls.split([len(singles), 1, len(random), len(directions)])
    predicted = at_code[:, latents].T, tester.along_path(latents.tolist(), settings.steps)
    return LatentPaths(
        latents=latents.tolist(),
        chosen=len(chosen),
        nrn=nrn(rows_by_model(crosscoder.W_dec.cpu(), len(crosscoder.config.models)))[latents],
        fires=(at_code[:, latents] != 0).float().mean(dim=0),
        predicted=dict(zip(METHODS, predicted, strict=True)),
        measured=each,
        together=all_of_them[0],
        controls=dict(zip(CONTROLS, draws, strict=True)),
    )


def _arm(crosscoder: Crosscoder, latents: Tensor) -> Arm:
    return Arm(crosscoder=crosscoder, latents=latents)
