"""The processes that a launcher (accelerate launch, torchrun) started for one run, and the device of each."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta

from torch import distributed

from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.models.places.processes import is_first_to_fail, n_processes, own_device
from toolkit.models.places.split import is_leading
from toolkit.models.where import Where
from toolkit.settings.crosscoder_run import FeedSettings, RunOutput
from toolkit.training.training_folder import settings_before

PATIENCE = timedelta(hours=2)  # with which ranks wait for one that loads models or writes a checkpoint


@contextmanager
def open_ranks() -> Iterator[Ranks]:
    """Join the processes of this run inside the block, or be alone where no launcher started more than one.

    It is alone too where the others hold parts of its models.
    When one fails, it alone says why; the others end in silence. Each that fails has until SIGKILL to do so. After the
    block they need not wait for each other.
    """
    size = 1 if is_leading() else n_processes()
    if size == 1:
        _check_that_one_was_asked_for()
        yield ALONE
        return
    device = own_device()
    distributed.init_process_group("nccl" if device != "cpu" else "gloo", timeout=PATIENCE)
    ranks = Ranks(size=size, rank=distributed.get_rank(), device=device)
    try:
        yield ranks
    except BaseException:
        with suppress(ValueError):  # in a thread, which may set no signals
            signal.signal(
                signal.SIGTERM, signal.SIG_IGN
            )  # launchers end the others with it: first to speak and tidy up
        if is_first_to_fail():
            raise
        sys.exit(1)
    distributed.destroy_process_group()


def _check_that_one_was_asked_for() -> None:
    """Accelerate starts one process in place of several, but tells it where to meet the others."""
    if "WORLD_SIZE" not in os.environ and {"ACCELERATE_MIXED_PRECISION", "MASTER_PORT"} <= os.environ.keys():
        raise ValueError(
            "accelerate launch was asked for several processes and started one, as there are fewer GPUs: add"
            " --multi_gpu, which takes CPUs where there is no GPU, in place of --cpu; or ask for one (--num_processes)"
        )


def share_out(feed: FeedSettings, output: RunOutput, ranks: Ranks) -> FeedSettings:
    """The settings with shards of the text for all ranks.

    They are those of the run to resume; a new run has as many as ranks, if the settings do not say.

    Raises:
        ValueError: there are more ranks than shards.
    """
    shards = feed.shards or settings_before(output).get("shards") or ranks.size
    if ranks.size > shards:
        raise ValueError(
            f"{ranks.size} processes, but {shards} {'shard' if shards == 1 else 'shards'} of the text: start at most"
            f" {shards} processes (--num_processes), or begin another run with --shards {ranks.size} or more"
        )
    return replace(feed, shards=shards)


def on_own_device(where: Where, ranks: Ranks) -> Where:
    """Where this rank loads models: onto its own device, unless one is named."""
    own = ranks.size > 1 and where.device_map == "auto"
    return replace(where, device_map=ranks.device) if own else where
