"""Ablation in one call, on texts of one's own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch

from toolkit.arguments import Indices
from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.experiments.ablation import GIVEN, AblationSettings
from toolkit.experiments.ablation.measure import ablation_study
from toolkit.experiments.ablation.study import CategoryAblation
from toolkit.fields import check_names
from toolkit.harvest.harvesting import batch_texts, open_mask
from toolkit.interventions.ablation import Arm, ReadTargets, ablation_effects
from toolkit.interventions.edits import check_match
from toolkit.interventions.targets import Targets
from toolkit.latents.categories import Category, categories, load_lexicon
from toolkit.latents.choices import Method
from toolkit.models.model_set import ModelSet
from toolkit.models.text.inputs import as_rows


def ablate(
    models: ModelSet,
    crosscoder: Crosscoder,
    texts: str | Iterable[str],
    *,
    category: str | Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    latents: Indices | None = None,
    layer: int | None = None,
    settings: AblationSettings | None = None,
    **changes: Any,
) -> CategoryAblation:
    """Take latents out of the models where a category's words come next: how far do the words' logits fall?

    `category` is a shipped one by its name, a list of words, or `{"name": [words]}`. Every other text chooses its
    latents, the rest test them; or `latents` are taken out. `result["2 %", "chosen"]["distilled"].logit` is the change
    at each word without the best 2 % of latents. "directions" in place of "chosen" takes out random vectors as long,
    "matched" latents alike in code and NRN, "random" other eligible ones: means over their draws, which
    `result.draws` holds apart, in the last model only. "given" is the share's name where latents are given. What one
    crosscoder gives, another seed's may not; `AblationConfig` asks all of a run. Without a category each text is a
    prompt, and the word is what the last model would write next; there are no controls. `layer` is the site of edits,
    for a crosscoder of several. Settings are an `AblationSettings` or its fields as keywords, such as `targets=50`.
    Raises `ValueError` for a category, latents or texts that cannot be used, for a crosscoder of other streams than the
    pair's, and as `ablation_study` does.
    """
    check_match(models, crosscoder, other_models=True)
    check_names(AblationSettings, changes, "ablate")
    settings = replace(settings or AblationSettings(), **changes)
    if latents is not None:
        given = dict.fromkeys(check_latents(latents, crosscoder.config.n_latents))
        settings = replace(settings, latents=tuple(given))
    if category is None:
        prompts = [texts] if isinstance(texts, str) else list(texts)
        return _ablate_prompts(models, crosscoder, prompts, settings.latents, settings.method(layer))
    words, listed = _words(category), [] if isinstance(texts, str) else list(texts)
    if len(listed) < 2 or not all(isinstance(text, str) for text in listed):
        raise ValueError(f"texts: {texts!r:.60}; give a list of texts, some to choose latents and others to test them")
    batches = list(chain.from_iterable(batch_texts(models, listed)))
    chosen = categories(models.tokenizer, words)
    study = ablation_study(models, {settings.seed: crosscoder}, batches, open_mask(), chosen, settings, layer)
    return next(iter(study.own.categories.values()))


def _words(category: str | Sequence[str] | Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """One category's words by its name; raises `ValueError` for anything else."""
    if isinstance(category, str):
        lexicon = load_lexicon()
        if category not in lexicon:
            raise ValueError(f"no category is called {category!r}: choose from {', '.join(lexicon)}, or give words")
        return {category: lexicon[category]}
    named = dict(category) if isinstance(category, Mapping) else {"words": category}
    words = next(iter(named.values()), ())
    listed = isinstance(words, Iterable) and not isinstance(words, str)
    if len(named) != 1 or not listed or not words or not all(isinstance(each, str) for each in words):
        raise ValueError(
            f"category {category!r:.60}: give the words of one, as a list of strings or {{'name': [words]}}"
        )
    return {name: tuple(words) for name, words in named.items()}


def _ablate_prompts(
    models: ModelSet, crosscoder: Crosscoder, prompts: Sequence[str], latents: Sequence[int], method: Method
) -> CategoryAblation:
    """Take the given latents out at the end of each prompt, where the last model would write its likeliest token."""
    if not latents or not prompts:
        raise ValueError(
            f"prompts {prompts!r:.60}, latents {latents}: without a category give prompts and the latents to"
            " take out of them"
        )
    rows = [torch.tensor(row) for row in as_rows(models.tokenizer, list(prompts))]
    last = models.models[models.names[-1]]
    next_ids = torch.stack([last.logits(row[None])[0, -1].argmax().cpu() for row in rows])
    targets = Targets(prefixes=tuple(rows), target_ids=next_ids, documents=torch.arange(len(rows)), found=len(rows))
    arm = Arm(crosscoder=crosscoder, latents=torch.tensor(latents))
    effects = ablation_effects(models, ReadTargets.read(models, targets, method.positions), [arm], method)
    tokens = tuple(models.tokenizer.convert_ids_to_tokens(next_ids.tolist()))
    return CategoryAblation(
        category=Category(name="next token", words=tokens, tokens=tokens, token_ids=tuple(next_ids.tolist())),
        targets=targets,
        latents={GIVEN: list(latents)},
        draws={(GIVEN, "chosen"): effects},
        matches={},
    )
