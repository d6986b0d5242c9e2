"""What processes do that `rank_processes` starts: whole runs, and files written together."""

import os
import time
from collections.abc import Generator
from contextlib import redirect_stderr
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from toolkit.command_line.recipe import run_main
from toolkit.dictionaries.collectives import Ranks
from toolkit.harvest.activations import ActivationStream
from toolkit.settings.crosscoder_run import parse_command_line
from toolkit.training.folder import RunFolder
from toolkit.training.ranks import open_ranks, share_out
from toolkit.training.shared_tensors import write_shared
from toolkit.training.streams import open_text, open_training
from toolkit.training.training_run import TrainingRun


def write_file(ranks: Ranks, folder: Path, tensors: dict[str, Tensor]) -> None:
    """Write one file together, of which each rank gives its rows of the tensors whose names begin with `rows`."""
    own = {k: t[ranks.share_of(len(t))] if k.startswith("rows") else t * (1 + ranks.rank) for k, t in tensors.items()}
    write_shared(folder / "shared.safetensors", own, lambda name: name.startswith("rows"), ranks)


def run(
    ranks: Ranks, folder: Path, arguments: list[str], last_step: int | None = None, broken_rank: int | None = None
) -> None:
    """Train as the recipe does, as its command line asks; the first rank is killed after `last_step`."""
    config = parse_command_line(arguments)
    config = replace(config, feed=share_out(config.feed, config.output, ranks))
    pair = config.models.open(config.where)
    corpus = open_text(config.text, config.seed)
    opened = RunFolder.open(config.output, config.settings())
    ranks.wait()
    if ranks.is_first:
        opened.write_json("config.json", {"run": config.settings()})
    sources = open_training(config, pair, corpus, ranks)
    if ranks.rank == broken_rank:
        for source in sources.values():
            source.__class__ = Broken
    with TrainingRun(config, pair, sources, opened, ranks=ranks) as training:
        for step, *_ in training.steps():
            if ranks.is_first and step.step == last_step:
                os._exit(9)
    if ranks.is_first:
        for seed, crosscoder in training.crosscoders():
            crosscoder.save_pretrained(folder / f"crosscoder-{seed}")
        torch.save(training.masks, folder / "masks")


class Broken(ActivationStream):
    """One that cannot read on after some chunks."""

    def __iter__(self) -> Generator[Tensor, None, None]:
        yield from islice(super().__iter__(), 8)
        raise ValueError("the text cannot be read on")


def run_that_breaks(folder: Path, arguments: list[str], broken_rank: int) -> None:
    """Train as a recipe that a launcher started, until one rank cannot read on; what this one says is in a file."""
    with (folder / f"said-{os.environ['RANK']}").open("w") as file, redirect_stderr(file):
        run_main(lambda: _join_and_break(folder, arguments, broken_rank))


def _join_and_break(folder: Path, arguments: list[str], broken_rank: int) -> None:
    with open_ranks() as ranks:
        run(ranks, folder, arguments, broken_rank=broken_rank)


def fail_together(folder: Path) -> None:
    """Fail in the first process, which takes a while to say so, and then in the second, which ends at once."""
    failing = folder / "failing"
    try:
        with open_ranks() as ranks:
            while not (ranks.is_first or failing.exists()):
                time.sleep(0.01)
            raise ValueError("all fail")
    except ValueError:
        failing.touch()
        time.sleep(1)
        (folder / "said").touch()
        raise
