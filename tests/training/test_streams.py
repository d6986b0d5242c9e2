import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from toolkit.fields import changed
from toolkit.harvest.documents import Corpus
from toolkit.models.pair import ModelPair
from toolkit.settings.crosscoder_run import MaskSettings, RunConfig, TextSettings
from toolkit.training.streams import (
    cache_identity,
    fitting_tokens,
    open_activations,
    open_mask,
    open_tokens,
    open_training,
    tokenizer_hash,
)


def test_settings_reach_the_stream(config: RunConfig, pair: ModelPair, corpus: Corpus) -> None:
    batches = list(open_tokens(config.text, pair, corpus.train, seed=0))
    assert max(batch.input_ids.shape[1] for batch in batches) == config.text.row_length
    assert max(batch.input_ids.numel() for batch in batches) <= config.text.forward_tokens
    assert max(b.input_ids.numel() for b in open_tokens(config.text, pair, corpus.train, seed=0, batch_tokens=64)) <= 64


def test_a_batch_fits_but_has_a_row_at_least(config: RunConfig) -> None:
    assert (config.text.row_length, config.text.forward_tokens) == (64, 512)
    assert fitting_tokens(config.text, 10_000, 10) == 512
    assert fitting_tokens(config.text, 3000, 10) == 300
    assert fitting_tokens(config.text, 100, 10) == 64
    assert fitting_tokens(config.text, 100, 10, rows=2) == 128


def test_each_stream_begins_at_the_beginning(config: RunConfig, pair: ModelPair, corpus: Corpus) -> None:
    first, second = (
        next(iter(open_activations(config.text, config.mask, pair, corpus.held_out, seed=config.seed)))
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_settings_reach_the_mask(config: RunConfig, pair: ModelPair, corpus: Corpus) -> None:
    batch = next(iter(open_tokens(config.text, pair, corpus.train, seed=0)))
    special = torch.isin(batch.input_ids, torch.tensor(pair.tokenizer.all_special_ids))
    real = batch.attention_mask.bool()
    everything = MaskSettings(keep_position_0=True)
    assert torch.equal(open_mask(everything, pair).tokens(batch), real)
    ordinary = MaskSettings(drop_tokens=("special",))
    kept = open_mask(ordinary, pair).tokens(batch)
    assert not kept[:, 0].any()
    assert torch.equal(kept[:, 1:], (real & ~special)[:, 1:])


def test_tokens_are_dropped_by_name(config: RunConfig, pair: ModelPair, corpus: Corpus) -> None:
    think_id = pair.tokenizer.convert_tokens_to_ids("<think>")
    batch = next(b for b in open_tokens(config.text, pair, corpus.train, seed=0) if (b.input_ids == think_id).any())
    mask = open_mask(MaskSettings(drop_tokens=("<think>",), keep_position_0=True), pair)
    dropped = batch.attention_mask.bool() & ~mask.tokens(batch)
    think = batch.input_ids == think_id
    assert dropped.any()
    assert torch.equal(dropped, think)


def test_a_token_that_is_none_is_refused(pair: ModelPair) -> None:
    with pytest.raises(ValueError, match=r"--drop-tokens \['<thonk>'\]: not in the tokenizer's vocabulary"):
        open_mask(MaskSettings(drop_tokens=("<thonk>",)), pair)


def test_training_text_comes_by_way_of_the_cache_where_one_is_named(
    config: RunConfig, pair: ModelPair, corpus: Corpus, tmp_path: Path
) -> None:
    streamed = list(open_training(config, pair, corpus)[0])
    cached = changed(config, cache=tmp_path / "cache")
    for _ in range(2):
        read = list(open_training(cached, pair, corpus)[0])
        assert all(torch.equal(a, b) for a, b in zip(read, streamed, strict=True))
    held_out = next(iter(open_activations(cached.text, cached.mask, pair, corpus.held_out, seed=cached.seed)))
    assert not torch.equal(held_out[:10], streamed[0][:10])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("row_length", {"row_length": 32}),
        ("forward_tokens", {"forward_tokens": 256}),
        ("keep_position_0", {"keep_position_0": True}),
        ("drop_tokens", {"drop_tokens": ("special",)}),
        ("outlier_factor", {"outlier_factor": 2.0}),
        ("seed", {"seed": 1}),
        ("text_field", {"text_field": "body"}),
        ("type", {"cache_dtype": "int8"}),
        ("dtype", {"dtype": "bfloat16"}),
    ],
)
def test_a_cache_is_told_by_what_decides_its_content(
    config: RunConfig, pair: ModelPair, corpus: Corpus, name: str, change: dict[str, Any]
) -> None:
    one, other = (cache_identity(each, pair, corpus.origin) for each in (config, changed(config, **change)))
    assert [each for each in one if one[each] != other[each]] == [name]


def test_a_cache_serves_runs_that_differ_in_how_they_train(config: RunConfig, pair: ModelPair, corpus: Corpus) -> None:
    training = dataclasses.replace(config.training, n_latents=32, k=4, lr=0.1)
    other = changed(config, training=training, buffer_tokens=512, checkpoint_steps=3, held_out_tokens=1024)
    assert cache_identity(other, pair, corpus.origin) == cache_identity(config, pair, corpus.origin)


def test_a_tokenizer_is_told_by_its_rules_not_by_how_it_was_used(
    make_tokenizer: Callable[..., PreTrainedTokenizerFast],
) -> None:
    one, same, other = make_tokenizer(), make_tokenizer(), make_tokenizer(adds_bos=True)
    same(["w1 w2", "w3"], padding=True, truncation=True, max_length=1)
    assert tokenizer_hash(one) == tokenizer_hash(same) != tokenizer_hash(other)


def test_rows_beyond_the_models_context_are_refused(pair: ModelPair, corpus: Corpus):
    open_tokens(TextSettings(row_length=512), pair, corpus.train, seed=0)
    with pytest.raises(ValueError, match=r"--row-length 513 exceeds the model's context of 512 tokens: lower it"):
        open_tokens(TextSettings(row_length=513), pair, corpus.train, seed=0)
