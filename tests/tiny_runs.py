"""A tiny pair, loaded once, and settings for runs on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.harvest.documents import Corpus, open_corpus
from toolkit.models.pair import ModelPair
from toolkit.settings.crosscoder_run import RunConfig, parse_command_line
from toolkit.training.folder import RunFolder
from toolkit.training.streams import open_training
from toolkit.training.training_run import TrainingRun


@pytest.fixture
def config(run_arguments: list[str]) -> RunConfig:
    """Settings of a run of 40 steps."""
    return parse_command_line(run_arguments)


@pytest.fixture
def corpus(text_file: Path) -> Corpus:
    """A local file as corpus."""
    return open_corpus(str(text_file), text_field="text", mix=(0.5, 0.5), seed=0)


@pytest.fixture
def open_run(corpus: Corpus) -> Callable[..., TrainingRun]:
    """Open the run of some settings."""

    def open_(config: RunConfig, pair: ModelPair) -> TrainingRun:
        folder = RunFolder.open(config.output, config.settings())
        folder.write_json("config.json", {"run": config.settings()})
        return TrainingRun(config, pair, open_training(config, pair, corpus), folder)

    return open_
