"""Memory that a run's settings need, computed from shapes and compared with what is free, before anything is loaded.

The models' own weights are not counted: they may be elsewhere, or be read piece by piece.
"""

import os
from collections.abc import Collection, Iterable
from pathlib import Path

import torch

from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.rules.rule import rule_of
from toolkit.harvest.choices import AHEAD
from toolkit.models.files.loading import load_config
from toolkit.models.model.shapes import KNOWN
from toolkit.models.presets import find_pair
from toolkit.models.where import Where
from toolkit.settings.adapter_run import AdapterRunConfig
from toolkit.settings.crosscoder_run import FeedSettings, RunConfig, TextSettings
from toolkit.training.costs import MOMENTS, gradient_bytes, trainer_bytes

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
FP32 = 4


def require_memory(config: RunConfig, plans: Collection[TrainingConfig] = (), ranks: Ranks = ALONE) -> None:
    """Refuse settings of which this process cannot hold its share: `plans` are the crosscoders of one seed.

    The run's settings are read as a whole: seeds, models, layers, text, feed, and where models run.

    Raises:
        ValueError: names the setting that takes most, what it takes and what there is; or as `load_config` does.
    """
    sources = find_pair(config.models.pair, config.models.base, config.models.distilled)
    d_model = (KNOWN.get(sources.base) or load_config(sources.base)).hidden_size
    parts = memory_parts(
        config.text,
        config.feed,
        [*plans] * config.seeds,
        n_streams=2 * len(config.layers or sources.layers or (0,)),
        d_model=d_model,
    )
    shared = {"--batch-tokens", "--buffer-tokens"} | ({"--n-latents"} if config.feed.shard == "latents" else set())
    parts = {name: size // ranks.size if name in shared else size for name, size in parts.items()}
    there, place = memory_there(config.where)
    if (total := sum(parts.values())) > there:
        largest = max(parts, key=lambda name: parts[name])
        given = {
            "--n-latents": _each(plan.n_latents for plan in plans),
            "--batch-tokens": _each(plan.batch_tokens for plan in plans),
            "--buffer-tokens": config.feed.buffer_tokens,
            "--forward-tokens": config.text.forward_tokens,
        }
        grows = config.seeds > 1 and largest in ("--n-latents", "--batch-tokens")
        raise ValueError(
            f"{largest} {given[largest]} takes {parts[largest] / 1e9:,.1f} GB of memory, and all"
            f" settings take {total / 1e9:,.1f} GB, but {place} has {there / 1e9:,.1f} GB: lower {largest}"
            + (f", or --seeds {config.seeds}" if grows else "")
        )


def require_adapter_memory(config: AdapterRunConfig) -> None:
    """Refuse an adapter that does not fit where it is trained: weights, gradients and the optimiser's memory.

    Raises:
        ValueError: names what it takes and what there is; or as `load_config` does.
    """
    sources = find_pair(config.models.pair, config.models.base, config.models.distilled)
    shape = KNOWN.get(sources.distilled) or load_config(sources.distilled)
    weights = (2 * shape.hidden_size + 1) * config.training.n_latents + shape.hidden_size
    copies = 2 + MOMENTS if config.training.optimiser == "adamw" else 3
    total = FP32 * copies * shape.num_hidden_layers * weights
    there, place = memory_there(config.where)
    if total > there:
        raise ValueError(
            f"--n-latents {config.training.n_latents} takes {total / 1e9:,.1f} GB of memory, but {place} has"
            f" {there / 1e9:,.1f} GB: lower --n-latents"
        )


def memory_parts(
    text: TextSettings, feed: FeedSettings, plans: Collection[TrainingConfig], *, n_streams: int, d_model: int
) -> dict[str, int]:
    """Bytes that all processes take together, by the setting that decides them; each has forward passes of its own."""
    width = n_streams * d_model
    dictionaries = activations = 0
    for plan in plans:
        matrices = rule_of(plan.sparsity).dense_matrices
        scaled_encoder = FP32 * plan.n_latents * width
        dictionaries += trainer_bytes(plan, width, n_streams) + gradient_bytes(plan, width) + scaled_encoder
        errors = 3 if plan.difference_weight else 2  # the error, its gradient, and that of the difference
        activations += FP32 * plan.batch_tokens * (matrices * plan.n_latents + errors * width)
    number = 2 if feed.buffer_dtype == "bf16" else FP32
    return {
        "--n-latents": dictionaries,
        "--batch-tokens": activations,
        "--buffer-tokens": number * feed.buffer_tokens * width if dictionaries else 0,
        "--forward-tokens": FP32 * (AHEAD + 1) * text.forward_tokens * width,
    }


def memory_there(where: Where) -> tuple[int, str]:
    """Bytes of memory that this process may take where it trains, and the name of that place."""
    place = str(where.base_device or where.device_map)
    if torch.cuda.is_available() and place != "cpu":
        device = torch.device(place if place.startswith("cuda") else "cuda")
        return torch.cuda.get_device_properties(device).total_memory, f"the GPU {device}"
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [Path(limit).read_text().strip() for limit in CGROUP_LIMITS if Path(limit).is_file()]
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    share = "" if processes == 1 else f" for each of {processes} processes"
    return min(there, *map(int, filter(str.isdecimal, limits)), there) // processes, f"this machine{share}"


def _each(values: Iterable[int]) -> str:
    return " ".join(map(str, dict.fromkeys(values)))
