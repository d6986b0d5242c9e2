import dataclasses

import pytest
import torch

from toolkit.harvest.documents import Corpus
from toolkit.models.pair import ModelPair
from toolkit.runs.settings import RunConfig
from toolkit.runs.streams import fitting_tokens, open_activations, open_mask, open_tokens


def test_settings_reach_the_stream(config: RunConfig, pair: ModelPair, corpus: Corpus) -> None:
    batches = list(open_tokens(config, pair, corpus.train))
    assert max(batch.input_ids.shape[1] for batch in batches) == config.row_length
    assert max(batch.input_ids.numel() for batch in batches) <= config.forward_tokens
    assert max(b.input_ids.numel() for b in open_tokens(config, pair, corpus.train, batch_tokens=64)) <= 64


def test_a_batch_fits_but_has_a_row_at_least(config: RunConfig) -> None:
    assert (config.row_length, config.forward_tokens) == (64, 512)
    assert fitting_tokens(config, 10_000, 10) == 512
    assert fitting_tokens(config, 3000, 10) == 300
    assert fitting_tokens(config, 100, 10) == 64
    assert fitting_tokens(config, 100, 10, rows=2) == 128


def test_each_stream_begins_at_the_beginning(config: RunConfig, pair: ModelPair, corpus: Corpus) -> None:
    first, second = (next(iter(open_activations(config, pair, corpus.held_out))) for _ in range(2))
    assert torch.equal(first, second)


def test_settings_reach_the_mask(config: RunConfig, pair: ModelPair, corpus: Corpus) -> None:
    batch = next(iter(open_tokens(config, pair, corpus.train)))
    special = torch.isin(batch.input_ids, torch.tensor(pair.tokenizer.all_special_ids))
    real = batch.attention_mask.bool()
    everything = dataclasses.replace(config, keep_position_0=True)
    assert torch.equal(open_mask(everything, pair).tokens(batch), real)
    ordinary = dataclasses.replace(config, drop_tokens=("special",))
    kept = open_mask(ordinary, pair).tokens(batch)
    assert not kept[:, 0].any()
    assert torch.equal(kept[:, 1:], (real & ~special)[:, 1:])


def test_tokens_are_dropped_by_name(config: RunConfig, pair: ModelPair, corpus: Corpus) -> None:
    think_id = pair.tokenizer.convert_tokens_to_ids("<think>")
    batch = next(b for b in open_tokens(config, pair, corpus.train) if (b.input_ids == think_id).any())
    mask = open_mask(dataclasses.replace(config, drop_tokens=("<think>",), keep_position_0=True), pair)
    dropped = batch.attention_mask.bool() & ~mask.tokens(batch)
    think = batch.input_ids == think_id
    assert dropped.any()
    assert torch.equal(dropped, think)


def test_a_token_that_is_none_is_refused(config: RunConfig, pair: ModelPair) -> None:
    with pytest.raises(ValueError, match=r"--drop-tokens \['<thonk>'\]: not in the tokenizer's vocabulary"):
        open_mask(dataclasses.replace(config, drop_tokens=("<thonk>",)), pair)
