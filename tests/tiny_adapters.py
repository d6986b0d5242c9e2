"""A tiny adapter of the organism's kind, in a folder with all that an experiment reads."""

from pathlib import Path

import pytest
import torch

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.dictionaries.adapter_storage import save_adapter
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.models.where import Where
from toolkit.settings.adapters import AdapterChoice
from toolkit.settings.findings import TextChoice
from toolkit.settings.models import ModelChoice

N_LATENTS, DEAD = 24, (2, 5)


@pytest.fixture(scope="session")
def adapter_folder(organism_folders: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 latents in each of 3 layers, that fire on a tenth of tokens or so; one of them never does."""
    chance = torch.Generator().manual_seed(2)
    adapter = Adapter.initialised(
        AdapterConfig(d_model=16, n_layers=3, n_latents=N_LATENTS, sources=organism_folders), chance
    )
    for transcoder in adapter.transcoders:
        transcoder.b_enc.data.fill_(-0.7)
        transcoder.W_dec.data.copy_(torch.randn(transcoder.W_dec.shape, generator=chance) / 10)
    layer, index = DEAD
    adapter[layer].b_enc.data[index] = -1e6
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(adapter, folder)
    return folder


@pytest.fixture(scope="session")
def adapter_run(adapter_folder: Path, text_file: Path) -> AdapterRun:
    """The adapter opened with its models and the organism's text."""
    text = TextChoice(data=str(text_file))
    return AdapterRun.of(AdapterChoice(run=adapter_folder), text, ModelChoice(), Where())


@pytest.fixture(scope="session")
def adapted(adapter_run: AdapterRun) -> AdaptedModel:
    """Its models."""
    return adapter_run.models
