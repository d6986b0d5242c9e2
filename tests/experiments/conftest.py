"""A run to examine: a random crosscoder of the tiny pair."""

from pathlib import Path

import pytest
import torch

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.run import Run
from toolkit.harvest.documents import open_corpus
from toolkit.models.pair import ModelPair
from toolkit.settings.crosscoder_run import RunConfig, TextSettings

DEAD = 5


@pytest.fixture(scope="session")
def run(pair: ModelPair, text_file: Path) -> Run:
    """Twelve latents, of which number 5 never fires."""
    shape = CrosscoderConfig(
        d_model=16, models=("base", "distilled"), layers=pair.layers, n_latents=12, sparsity="l1", k=1, scale=(1.0, 1.0)
    )
    crosscoder = Crosscoder(shape)
    generator = torch.Generator().manual_seed(0)
    for rows in (crosscoder.W_enc, crosscoder.W_dec):
        rows.copy_(torch.randn(rows.shape, generator=generator))
    crosscoder.b_enc[DEAD] = -1e6
    settings = RunConfig(text=TextSettings(row_length=64, forward_tokens=512))
    corpus = open_corpus(str(text_file), text_field="text", mix=(0.5, 0.5), seed=0)
    return Run(settings=settings, open_models=lambda: pair, crosscoder=crosscoder, open_text=lambda: corpus)
