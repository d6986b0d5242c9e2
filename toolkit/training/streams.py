"""Token streams, masks and activations as a run's settings ask for them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import IterableDataset
from transformers import PreTrainedTokenizerBase

from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.harvest.activations import ActivationSource, ActivationStream
from toolkit.harvest.cache import INDEX, CachedActivations, CacheFolder
from toolkit.harvest.cache_shards import bytes_a_token
from toolkit.harvest.documents import Corpus, open_corpus
from toolkit.harvest.tokens import TokenMask, TokenStream
from toolkit.models.model_set import ModelSet
from toolkit.models.places.here import weights_dtype
from toolkit.models.text.inputs import check_context
from toolkit.settings.crosscoder_run import MaskSettings, RunConfig, TextSettings
from toolkit.stitching.opening import StitchableModels


def open_text(text: TextSettings, seed: int) -> Corpus:
    """The documents that are asked for; raises ValueError as `open_corpus` does."""
    return open_corpus(text.data, text_field=text.text_field, mix=text.mix, seed=seed)


def open_tokens(
    text: TextSettings,
    models: ModelSet,
    documents: IterableDataset,
    *,
    seed: int,
    batch_tokens: int | None = None,
    shard: int = 0,
    shards: int = 1,
) -> TokenStream:
    """Batches of the documents' ids, or of one shard of them.

    Raises ValueError for rows that are longer than the models' context.
    """
    check_context(text.row_length, models.context, f"--row-length {text.row_length}", "lower it to that")
    return TokenStream(
        documents,
        models.tokenizer,
        row_length=text.row_length,
        batch_tokens=text.forward_tokens if batch_tokens is None else batch_tokens,
        seed=seed,
        shard=shard,
        shards=shards,
    )


def fitting_tokens(text: TextSettings, budget: int, numbers_a_token: int, *, rows: int = 1) -> int:
    """Tokens of a batch that holds at most `budget` numbers at once, but room for `rows` rows at least."""
    return max(rows * text.row_length, min(text.forward_tokens, budget // numbers_a_token))


def open_mask(mask: MaskSettings, models: ModelSet | StitchableModels) -> TokenMask:
    """A fresh mask: its counts and medians begin here.

    Raises ValueError for a token to drop that the vocabulary does not hold.
    """
    return TokenMask(
        special_ids=_dropped_ids(mask.drop_tokens, models),
        keep_position_0=mask.keep_position_0,
        outlier_factor=mask.outlier_factor,
    )


def _dropped_ids(dropped: Sequence[str], models: ModelSet | StitchableModels) -> frozenset[int]:
    vocabulary = models.tokenizer.get_vocab()
    named = [name for name in dropped if name != "special"]
    if unknown := [name for name in named if name not in vocabulary]:
        raise ValueError(f"--drop-tokens {unknown}: not in the tokenizer's vocabulary; give tokens as it spells them")
    special = models.tokenizer.all_special_ids if "special" in dropped else []
    return frozenset([*special, *(vocabulary[name] for name in named)])


def open_activations(
    text: TextSettings,
    mask: MaskSettings,
    models: ModelSet,
    documents: IterableDataset,
    *,
    seed: int,
    shard: int = 0,
    shards: int = 1,
) -> ActivationStream:
    """The models' activations on the documents, or on one shard of them."""
    tokens = open_tokens(text, models, documents, seed=seed, shard=shard, shards=shards)
    return ActivationStream(models, tokens, open_mask(mask, models))


def _training_activations(config: RunConfig, models: ModelSet, corpus: Corpus, shard: int) -> ActivationStream:
    shards = config.feed.shards or 1
    return open_activations(
        config.text, config.mask, models, corpus.train, seed=config.seed, shard=shard, shards=shards
    )


def open_training(
    config: RunConfig, models: ModelSet, corpus: Corpus, ranks: Ranks = ALONE
) -> dict[int, ActivationSource]:
    """The activations of this rank's shards of the training text, by way of the cache where the settings name one.

    The run's settings are read as a whole: text, mask, feed, seed, and for a cache where models run and how many tokens
    training takes. Raises as `open_cache` does.
    """
    own = range(ranks.rank, config.feed.shards or 1, ranks.size)
    opened = open_cache if config.feed.cache else _training_activations
    return {shard: opened(config, models, corpus, shard) for shard in own}


def open_cache(
    config: RunConfig, models: ModelSet, corpus: Corpus, shard: int = 0, *, whole: bool = True
) -> CachedActivations:
    """The training text's activations by way of the cache in `config.feed`; it need not be `whole` to be mended.

    With several shards of the text, each has a folder of its own in there. The run's settings are read as a whole, as
    by `open_training`.

    Raises:
        ValueError: the folder holds other things, activations of other models, sites, text, shards of it or masks, or
        not all that its index says.
        DiskFullError: the disk has no room for what will be stored.
    """
    cache, shards = config.feed.cache, config.feed.shards or 1
    assert cache is not None, "a cache has a folder"
    _check_shards(cache, shards)
    place = cache / f"shard-{shard}-of-{shards}" if shards > 1 else cache
    folder = CacheFolder(place, cache_identity(config, models, corpus.origin) | {"shard": [shard, shards]})
    if whole:
        folder.require_whole()
    n_streams = len(models.names) * len(models.layers)
    folder.require_space(config.training.tokens // shards, bytes_a_token(folder.type, n_streams, models.d_model))
    return CachedActivations(_training_activations(config, models, corpus, shard), folder, models.device)


def _check_shards(cache: Path, shards: int) -> None:
    """Refuse a cache of the text in other shards, of which nothing could be read."""
    there = {int(path.name.rpartition("-of-")[2]) for path in cache.glob("shard-*-of-*")}
    for others in there.union([1] if (cache / INDEX).exists() else []) - {shards}:
        raise ValueError(
            f"the cache {cache} is of the text in {others} shards, and {shards} are read here: add --shards {others}"
            " (by default as many as processes), or give --cache another folder"
        )


def cache_identity(config: RunConfig, models: ModelSet, origin: dict[str, Any]) -> dict[str, Any]:
    """All that decides which activations come, in which order, with which bits; `origin` is the text's."""
    files = origin.get("files")
    return {
        "models": list(models.origins),
        "weights": list(models.fingerprints().values()),
        "dtype": "the server's" if config.where.remote else str(weights_dtype(config.where)).removeprefix("torch."),
        "wire": config.where.wire if config.where.remote else None,
        "layers": list(models.layers),
        "tokenizer": tokenizer_hash(models.tokenizer),
        "data": {"files": list(files.values())} if files else origin,  # the same text at another path is the same
        "text_field": config.text.text_field,
        "row_length": config.text.row_length,
        "forward_tokens": config.text.forward_tokens,
        "keep_position_0": config.mask.keep_position_0,
        "drop_tokens": list(config.mask.drop_tokens),
        "outlier_factor": config.mask.outlier_factor,
        "seed": config.seed,
        "type": config.feed.stored_dtype,
    }


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Sha256 of a fast tokenizer's rules, of a slow one's vocabulary."""
    rules = tokenizer.get_vocab()
    if tokenizer.is_fast:
        rules = json.loads(tokenizer.backend_tokenizer.to_str())
        rules = {name: value for name, value in rules.items() if name not in ("padding", "truncation")}
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()
