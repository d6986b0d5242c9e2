"""Records of an adapter's latents: their codes are those of the model's own pass, and nothing is lost in a stop."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_adapters import DEAD, N_LATENTS

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.harvest.harvesting import open_mask
from toolkit.latents import example_pass
from toolkit.latents.coded_batches import adapter_batches
from toolkit.latents.example_pass import ExamplePass
from toolkit.latents.example_store import ExampleStore
from toolkit.latents.examples import TopExamples
from toolkit.latents.firing import FiringCounts
from toolkit.latents.latent_records import LatentRecord, adapter_records
from toolkit.latents.logit_lens import adapter_lens
from toolkit.latents.regions import RegionCounts
from toolkit.models.model.unembedding import direction_logits

LAYERS = (0, 2)


@pytest.fixture
def open_pass(adapter_run: AdapterRun) -> Callable[..., ExamplePass]:
    def opened(store: ExampleStore | None = None) -> ExamplePass:
        tokenizer, n_latents = adapter_run.models.tokenizer, len(LAYERS) * N_LATENTS
        pieces = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
        return ExamplePass(
            partial(adapter_batches, adapter_run.models, LAYERS, None),
            adapter_run.tokens(batch_tokens=600),
            open_mask(),
            examples=TopExamples(n_latents, top=3, sampled=4, generator=torch.Generator().manual_seed(0)),
            firing=FiringCounts([], n_latents),
            regions=RegionCounts(pieces, len(LAYERS), N_LATENTS),
            store=store or ExampleStore(":memory:", {}),
        )

    return opened


def test_records_are_those_of_the_models_own_inputs(adapter_run: AdapterRun, open_pass: Callable[..., ExamplePass]):
    read = open_pass()
    for _ in read.read(1000):
        pass
    codes = {layer: [] for layer in LAYERS}
    tokens = 0
    for batch in adapter_run.tokens(batch_tokens=600):
        inputs = adapter_run.models.mlp_inputs(batch.input_ids, batch.attention_mask)
        here = batch.attention_mask.bool()
        here[:, 0] = False
        for layer in LAYERS:
            transcoder = adapter_run.adapter[layer]
            with torch.no_grad():
                codes[layer].append(transcoder.encode(inputs[layer][here]) * transcoder.W_dec.norm(dim=1))
        if (tokens := tokens + int(here.sum())) >= 1000:
            break
    latents = [(2, 3), (0, 7), DEAD]
    frequency = torch.full((3, N_LATENTS), -1.0)
    frequency[list(LAYERS)] = (read.firing.fired / read.firing.tokens).view(len(LAYERS), N_LATENTS)
    records = adapter_records(
        adapter_run.models,
        LAYERS,
        latents,
        examples=read.examples,
        frequency=frequency.flatten(),
        pieces=read.regions._pieces,
    )
    for record, (layer, index) in zip(records, latents, strict=True):
        own = torch.cat(codes[layer])[:, index]
        assert isinstance(record, LatentRecord)
        assert record.latent == (layer, index)
        assert record.frequency == pytest.approx(float((own > 0).float().mean()))
        assert record.number == layer * N_LATENTS + index
        line = LAYERS.index(layer) * N_LATENTS + index
        assert read.regions.fired[:, line].sum() == int((own > 0).sum())
        if (layer, index) == DEAD:
            assert record.strongest == []
            continue
        assert record.strongest[0].score == pytest.approx(float(own.max()), rel=1e-4)
        assert len(record.tokens(record.strongest[0])) == len(record.strongest[0].token_ids)


def test_the_lens_is_the_decoder_row_through_norm_and_head(adapted: AdaptedModel):
    row = adapted.transcoders[1].W_dec.detach()[4]
    logits = direction_logits(adapted.distilled, row[None])[0, : len(adapted.tokenizer)]
    lens = adapter_lens(adapted, [(0, 3), (1, 4)], tokens=3)
    for promoted in (True, False):
        best = logits.topk(3, largest=promoted)
        found = lens.tokens(1 * N_LATENTS + 4, promoted=promoted)
        assert [token for token, _ in found] == adapted.tokenizer.batch_decode(best.indices[:, None])
        assert [logit for _, logit in found] == pytest.approx(best.values.tolist(), rel=1e-4)


def test_a_pass_that_was_stopped_ends_as_one_that_was_not(
    open_pass: Callable[..., ExamplePass], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = open_pass()
    for _ in whole.read(2000):
        pass
    monkeypatch.setattr(example_pass, "SAVE_SECONDS", 0.0)
    with ExampleStore(tmp_path / "examples.sqlite", {}) as store:
        stopped = open_pass(store).read(2000)
        for _ in range(3):
            next(stopped)
    with ExampleStore(tmp_path / "examples.sqlite", {}) as store:
        later = open_pass(store)
        assert 0 < later.firing.tokens < 2000
        for _ in later.read(2000):
            pass
    assert later.firing.tokens == whole.firing.tokens
    for name, expected in whole.regions.state_dict().items():
        assert torch.equal(later.regions.state_dict()[name], expected)
    for line in (3, 30):
        assert later.examples.strongest(line) == whole.examples.strongest(line)
