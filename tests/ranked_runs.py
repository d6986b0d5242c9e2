"""What processes do that `rank_processes.together` starts: whole runs, and files written together."""

import os
from pathlib import Path

import torch
from torch import Tensor

from toolkit.dictionaries.collectives import Ranks
from toolkit.harvest.documents import open_corpus
from toolkit.runs.folder import RunFolder
from toolkit.runs.ranks import share_out
from toolkit.runs.settings import parse_command_line
from toolkit.runs.shared_tensors import write_shared
from toolkit.runs.streams import open_training
from toolkit.runs.training_run import TrainingRun


def write_file(ranks: Ranks, folder: Path, tensors: dict[str, Tensor]) -> None:
    """Write one file together, of which each rank gives its rows of the tensors whose names begin with `rows`."""
    own = {k: t[ranks.share_of(len(t))] if k.startswith("rows") else t * (1 + ranks.rank) for k, t in tensors.items()}
    write_shared(folder / "shared.safetensors", own, lambda name: name.startswith("rows"), ranks)


def run(ranks: Ranks, folder: Path, arguments: list[str], last_step: int | None = None) -> None:
    """Train as the recipe does, as its command line asks; the first rank is killed after `last_step`."""
    config = share_out(parse_command_line(arguments), ranks)
    pair = config.open_pair()
    corpus = open_corpus(config.data, text_field=config.text_field, mix=config.mix, seed=config.seed)
    opened = RunFolder.open(config.out, config.settings(), resume=config.resume, overwrite=False)
    ranks.wait()
    if ranks.is_first:
        opened.write_json("config.json", {"run": config.settings()})
    with TrainingRun(config, pair, open_training(config, pair, corpus, ranks), opened, ranks=ranks) as training:
        for [step] in training.steps():
            if ranks.is_first and step.step == last_step:
                os._exit(9)
    if ranks.is_first:
        training.crosscoder().save_pretrained(folder / "crosscoder")
        torch.save(training.masks, folder / "masks")
