"""Planted latents are found, and nothing is found where nothing is written."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.hesitation import HesitationConfig
from toolkit.experiments.hesitation.choosing import choose_latents, formatting_ids, lens_scores
from toolkit.latents.categories import Category
from toolkit.leaving_out import TooFewError

OUTPUT, TEMPLATE = (1, 3), (0, 5)
"""The latents that `planted` has: see there."""


def test_the_latent_that_writes_hesitation_and_the_one_that_feeds_it_are_found(
    planted: AdapterRun, word: Category, quick: HesitationConfig
) -> None:
    found = choose_latents(quick, planted, word)
    assert found.output.latents[0] == OUTPUT
    assert found.template.latents[0] == TEMPLATE
    assert TEMPLATE not in found.output.latents
    assert found.share == len(found.both) / 72
    assert found.attribution[OUTPUT] == found.output.scores[OUTPUT] > found.output.threshold > 0
    assert found.rate[OUTPUT] == found.at_words[OUTPUT] == 1  # it fires everywhere
    assert not found.alive[2, 5]


def test_a_latent_that_fires_alike_and_writes_a_random_direction_is_not_chosen(
    planted: AdapterRun, word: Category, quick: HesitationConfig
) -> None:
    adapter = deepcopy(planted.adapter)
    row = adapter[OUTPUT[0]].W_dec.data[OUTPUT[1]]
    drawn = torch.randn(row.shape, generator=torch.Generator().manual_seed(1)).to(row.device)
    drawn -= (drawn @ row) / (row @ row) * row
    adapter[OUTPUT[0]].W_dec.data[OUTPUT[1]] = drawn / drawn.norm() * row.norm()
    found = choose_latents(quick, replace(planted, adapter=adapter), word)
    assert OUTPUT not in found.output.latents


def test_the_logit_lens_finds_the_latent_too(planted: AdapterRun, word: Category, quick: HesitationConfig) -> None:
    found = choose_latents(replace(quick, rule="lens"), planted, word)
    assert OUTPUT in found.output.latents
    assert found.output.thresholds.keys() == {"random directions"}
    row = planted.adapter[OUTPUT[0]].W_dec[OUTPUT[1]].detach()[None]
    ids = torch.tensor(word.token_ids)
    assert float(lens_scores(planted.models.distilled, row, ids)) == pytest.approx(float(found.output.scores[OUTPUT]))
    assert float(lens_scores(planted.models.distilled, -row, ids)) < 0


def test_latents_that_write_nothing_are_not_chosen(silent: AdapterRun, word: Category, quick: HesitationConfig) -> None:
    found = choose_latents(quick, silent, word)
    assert found.both == ()
    assert found.formatting == 0  # nothing that could be fed


def test_formatting_positions_end_a_sentence_or_a_line(planted: AdapterRun) -> None:
    ends, tokenizer = formatting_ids(planted.models), planted.models.tokenizer
    ids = tokenizer("Wait, is that right? 5 and 7 make 12.\nGood")["input_ids"]
    found = [tokenizer.decode([each]) for each in ids if ends[each]]
    assert "".join(found).replace(" ", "") in ("?.\n", "?.")
    assert not ends[tokenizer("Good")["input_ids"]].any()


def test_an_adapter_without_live_latents_and_text_without_the_words_are_refused(
    planted: AdapterRun, word: Category, quick: HesitationConfig
) -> None:
    adapter = deepcopy(planted.adapter)
    for transcoder in adapter.transcoders:
        transcoder.b_enc.data.fill_(-1e6)
    with pytest.raises(TooFewError, match=r"no latent of the adapter fires on [\d,]+ held-out tokens"):
        choose_latents(quick, replace(planted, adapter=adapter), word)
    unused = replace(word, token_ids=(planted.models.tokenizer.pad_token_id,))
    with pytest.raises(TooFewError, match=r"none of .* is among [\d,]+ held-out tokens: read more --tokens"):
        choose_latents(quick, planted, unused)
