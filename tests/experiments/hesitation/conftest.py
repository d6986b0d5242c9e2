"""A tiny adapter in which two latents are planted: one that writes hesitation, and one that feeds it."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toolkit.dictionaries.transcoders import Adapter
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.hesitation import HesitationConfig
from toolkit.latents.categories import Category, hesitation
from toolkit.models.model.layers import final_norm_path
from toolkit.settings.findings import FindingsOutput

OUTPUT, TEMPLATE = (1, 3), (0, 5)
"""Layer and index."""


@pytest.fixture(scope="session")
def word(adapter_run: AdapterRun) -> Category:
    """The hesitation words of the tiny models' tokenizer."""
    return hesitation(adapter_run.models.tokenizer)


@pytest.fixture(scope="session")
def planted(adapter_run: AdapterRun, word: Category) -> AdapterRun:
    """Latent 3 of layer 1 fires everywhere and promotes hesitation words; latent 5 of layer 0 makes it fire more."""
    module = adapter_run.models.module
    gain = module.get_submodule(final_norm_path(module)).weight.detach()
    head = module.get_output_embeddings().weight.detach() * gain
    wanted = torch.nn.functional.normalize(head[list(word.token_ids)].mean(dim=0) - head.mean(dim=0), dim=0)
    adapter = deepcopy(adapter_run.adapter)
    for layer, latent in (OUTPUT, TEMPLATE):
        adapter[layer].W_enc.data[latent] /= 10
        adapter[layer].b_enc.data[latent] = 1.0
    adapter[OUTPUT[0]].W_dec.data[OUTPUT[1]] = 2 * wanted
    adapter[TEMPLATE[0]].W_dec.data[TEMPLATE[1]] = 20 * adapter[OUTPUT[0]].W_enc.data[OUTPUT[1]]
    return replace(adapter_run, adapter=adapter)


@pytest.fixture(scope="session")
def silent(adapter_run: AdapterRun) -> AdapterRun:
    """An adapter whose latents write nothing."""
    adapter: Adapter = deepcopy(adapter_run.adapter)
    for transcoder in adapter.transcoders:
        transcoder.W_dec.data.zero_()
    return replace(adapter_run, adapter=adapter)


@pytest.fixture
def quick(tmp_path: Path) -> HesitationConfig:
    """Settings with little of everything."""
    return HesitationConfig(
        tokens=2000, test=8, new_tokens=12, control_draws=2, output=FindingsOutput(out=tmp_path / "out")
    )
