"""A run whose latents fire so seldom that they can be annotated."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.latent_annotation.annotate import annotate
from toolkit.experiments.latent_annotation.measure import Annotated
from toolkit.experiments.run import Run
from toolkit.settings.findings import FindingsOutput

RARE = 7
Annotate = Callable[..., Annotated]


@pytest.fixture(scope="session")
def sparse_run(run: Run, text_file: Path) -> Run:
    """The random run, on all of its text; each latent fires on two tokens of a hundred, number 7 on one of 4,000."""
    crosscoder = Crosscoder(run.crosscoder.config)
    crosscoder.load_state_dict(run.crosscoder.state_dict())
    x = torch.cat([coded.activations for coded in run.coded(4000)])
    crosscoder.b_enc.fill_(1e3)
    before = crosscoder.encode(x) - 1e3  # all positive, so nothing is cut off
    rates = torch.full((crosscoder.config.n_latents,), 0.98)
    rates[RARE] = 0.9998
    limits = torch.stack([column.quantile(rate) for column, rate in zip(before.T, rates, strict=True)])
    crosscoder.b_enc.copy_(-limits)
    crosscoder.b_enc[5] = -1e6
    settings = replace(run.settings, text=replace(run.settings.text, data=str(text_file)))
    return replace(run, crosscoder=crosscoder, settings=settings, open_text=lambda: run.corpus.read_whole())


@pytest.fixture
def annotated(sparse_run: Run, tmp_path: Path) -> Annotate:
    """Annotate latents of that run, with little text."""

    def call(latents: object = None, **changes: object) -> Annotated:
        given = {"tokens": 12_000, "output": FindingsOutput(out=tmp_path / "out")} | changes
        return annotate(sparse_run, latents, **given)

    return call
