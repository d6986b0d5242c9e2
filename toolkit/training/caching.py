"""Filling an activation cache before anything is trained on it, and mending one."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import torch

from toolkit.command_line.interrupts import Interrupted, InterruptGuard
from toolkit.formatting import compact
from toolkit.harvest.cache import CachedActivations, CacheFolder
from toolkit.tracking import track

TINY = 1e-30


def fill(activations: CachedActivations, wanted: int) -> Iterator[int]:
    """Harvest one shard of the text until its cache holds the `wanted` tokens; yields the tokens it holds.

    It ends early where the text does.

    Raises:
        Interrupted: a signal came; all that was harvested is stored, and its step is the number of forward passes.
    """
    activations.skip_stored()
    tokens = activations.folder.tokens
    with InterruptGuard() as interrupt, torch.no_grad(), closing(iter(activations)) as chunks:
        while tokens < wanted and (chunk := next(chunks, None)) is not None:
            tokens += len(chunk)
            yield tokens
            if interrupt.received:
                raise Interrupted(interrupt.received, activations.state_dict()["chunk"])


def mend(activations: CachedActivations) -> Iterator[str]:
    """Check every shard, and harvest again those that are missing or corrupt; yields their names.

    Raises ValueError where that gives other bits than before.
    """
    for number, shard in enumerate(track(activations.folder.shards, "checking", "shards")):
        if not shard.is_whole(activations.folder.path):
            with torch.no_grad():
                activations.repair(number)
            yield shard.file


def describe(folders: Sequence[CacheFolder]) -> dict[str, str]:
    """What the caches of one text's shards hold together, in words."""
    lost, norm = (sum(getattr(each, name) for f in folders for each in f.shards) for name in ("lost", "norm"))
    return {
        "tokens": f"{sum(folder.tokens for folder in folders):,}",
        "size": f"{compact(sum(f.nbytes for f in folders))}B in {sum(len(f.shards) for f in folders):,} files",
        "type": f"{folders[0].type}, which lost {lost / max(norm, TINY):.2g} of the squared norm",
    }
